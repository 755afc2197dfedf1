import type { Page } from '@playwright/test';

import { expect, expectAccessible, KEY, test } from './fixtures';
import { changeSession } from './secrets';

const CHAT = '**/v1/local/default/*/chat/completions';
const QUESTION = 'What is the capital of France?';

test('a question is answered by the local model, streamed, with no key', async ({ page }) => {
  await page.goto('/chat');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Chat');
  const message = page.getByRole('textbox', { name: 'Message' });
  await message.fill('Write a very long story about the sea.');
  await expect(page.getByRole('button', { name: 'Send' })).toBeEnabled(); // the gateway has said what it has
  await page.keyboard.press('Enter');
  const log = page.getByRole('log', { name: 'Conversation' });
  const lengths = new Set<number>();
  await expect
    .poll(async () => lengths.add((await log.innerText()).length).size, { message: 'the answer grows' })
    .toBeGreaterThan(4);
  await page.getByRole('button', { name: 'Stop' }).click();
  await message.fill(QUESTION);
  await page.keyboard.press('Enter');
  await expect(log).toContainText('Paris');
  await expectAccessible(page);
});

test('an answer can be stopped, and made again beside the first', async ({ page }) => {
  await page.goto('/chat');
  const message = page.getByRole('textbox', { name: 'Message' });
  await message.fill('Write a very long story about the sea and the people who live there.');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Stop' }).click();
  const log = page.getByRole('log', { name: 'Conversation' });
  await expect(log).toContainText('You stopped this answer.');
  await page.getByRole('button', { name: 'Regenerate' }).click();
  await page.getByRole('button', { name: 'Stop' }).click();
  await expect(log).toContainText('2 of 2');
  await page.getByRole('button', { name: 'Previous version' }).click();
  await expect(log).toContainText('1 of 2');
});

test('an answer that breaks off is kept and marked, and a refusal says why', async ({
  page,
  expectedErrors,
  gateway,
}) => {
  expectedErrors.push(/status of 429|ERR_INCOMPLETE_CHUNKED_ENCODING/);
  await page.goto('/chat');
  await page.route('**/v1/local/default/local/chat/completions', async (route) => {
    const body = { ...(route.request().postDataJSON() as object), model: MODELS.shift() };
    await route.continue({ postData: JSON.stringify(body) });
  });
  const MODELS = ['test/break', 'test/refuse-429'];
  const message = page.getByRole('textbox', { name: 'Message' });
  await message.fill('one two three four five six');
  await page.keyboard.press('Enter');
  const log = page.getByRole('log', { name: 'Conversation' });
  await expect(log).toContainText('Interrupted');
  await expect(log).toContainText('one two three');
  await message.fill('again');
  await page.keyboard.press('Enter');
  await expect(page.getByText(/Too many requests/).first()).toBeVisible();
  expect(gateway.output()).not.toContain('Traceback');
});

test('what a model says is never markup', async ({ page }) => {
  await page.goto('/chat');
  await page.route('**/v1/local/default/local/chat/completions', async (route) => {
    const body = { ...(route.request().postDataJSON() as object), model: 'test/echo' };
    await route.continue({ postData: JSON.stringify(body) });
  });
  const hostile =
    '<img src=x onerror="document.title=1"> <script>document.title=2</script> [link](javascript:alert(1)) **bold**';
  await page.getByRole('textbox', { name: 'Message' }).fill(hostile);
  await page.keyboard.press('Enter');
  const log = page.getByRole('log', { name: 'Conversation' });
  await expect(log.locator('strong')).toHaveText('bold');
  await expect(log.locator('img, script, a[href^="javascript"]')).toHaveCount(0);
  expect(await page.title()).not.toMatch(/^[12]$/);
});

test('the whole of a conversation needs no pointer', async ({ page }) => {
  await page.goto('/chat');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Chat');
  await page.keyboard.press('/');
  await page.keyboard.type(QUESTION);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('log', { name: 'Conversation' })).toContainText('Paris');
});

const log = (page: Page) => page.getByRole('log', { name: 'Conversation' });
const box = (page: Page) => page.getByRole('textbox', { name: 'Message', exact: true });

async function ask(page: Page, text: string): Promise<void> {
  await box(page).fill(text);
  await page.keyboard.press('Enter');
  await expect(box(page)).toHaveValue('');
  await expect(page.locator('.chat[data-status="idle"]')).toBeVisible();
}

/** Ask the upstream in OpenAI's place from here on. */
async function useOpenAi(page: Page, url: string, model: string): Promise<void> {
  await changeSession(page, url, { provider: 'openai', model, provider_key: KEY });
  await page.goto('/chat');
  await expect(page.getByLabel('Provider', { exact: true })).toHaveValue('openai');
}

/** Answer in the provider's place. */
async function answerWith(
  page: Page,
  answer: (body: { messages: { content: unknown }[] }) => object,
): Promise<void> {
  await page.route(CHAT, (route) =>
    route.fulfill(answer(route.request().postDataJSON() as { messages: { content: unknown }[] })),
  );
}

function streamed(...events: object[]): object {
  const body = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
  return { contentType: 'text/event-stream', body: `${body}data: [DONE]\n\n` };
}

function said(content: string): object {
  return streamed({ choices: [{ delta: { content } }] }, { choices: [{ delta: {}, finish_reason: 'stop' }] });
}

test('the address names a conversation, and each has its own draft', async ({
  page,
  gateway,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 404/);
  await useOpenAi(page, gateway.url, 'test/echo');
  await page.evaluate(() => {
    const told: string[] = [];
    const region = document.querySelector('.frame ~ [role=status]');
    new MutationObserver(() => told.push(region?.textContent ?? '')).observe(region as Node, {
      childList: true,
      characterData: true,
      subtree: true,
    });
    Object.assign(window, { told });
  });
  await ask(page, 'The first **one**');
  await expect(page).toHaveURL(/\/chat\/[0-9a-f]{32}$/);
  const first = page.url();
  // Somebody who listens hears of an answer twice, however many pieces it came in.
  expect(await page.evaluate(() => (window as unknown as { told: string[] }).told)).toEqual([
    'Writing an answer…',
    'Answer: The first **one**',
  ]);
  await expect(log(page)).toMatchAriaSnapshot(`
    - log "Conversation":
      - article:
        - heading "You" [level=2]
        - paragraph: The first **one**
      - article:
        - heading "test/echo" [level=2]
        - paragraph:
          - text: The first
          - strong: one
        - link "This request in the log"
  `);
  await box(page).fill('half a thought');
  await page.getByRole('button', { name: 'New conversation' }).click();
  await expect(page).toHaveURL(/\/chat$/);
  await expect(box(page)).toHaveValue('');
  await ask(page, 'The second');
  expect(page.url()).not.toBe(first);
  await page.goBack();
  await expect(page).toHaveURL(first);
  await expect(log(page)).toContainText('The first');
  await expect(box(page)).toHaveValue('half a thought');
  await page.reload();
  await expect(log(page)).toContainText('The first');
  await page.goto('/chat/nonesuch');
  await expect(page.getByRole('alert')).toContainText('There is no such conversation');
  await expectAccessible(page);
  await page.getByRole('button', { name: 'New conversation' }).last().click();
  await expect(box(page)).toBeVisible();
});

test('two models answer side by side, and the chosen one goes on', async ({ page, gateway }) => {
  await useOpenAi(page, gateway.url, 'test/echo');
  await page.getByRole('button', { name: 'Compare' }).press('Enter');
  const model = page.getByLabel('Second model');
  if (await model.evaluate((element) => element instanceof HTMLSelectElement)) {
    await model.selectOption('Another model…');
  }
  await model.fill('test/slow-stream-60');
  await page.keyboard.press('Tab');
  await box(page).fill('Who is quicker?');
  await page.keyboard.press('Enter');
  const pair = page.getByRole('group', { name: 'Two answers' });
  const [quick, slow] = [pair.getByRole('article').first(), pair.getByRole('article').last()];
  await expect(quick.getByRole('link', { name: 'This request in the log' })).toBeVisible();
  await expect(slow).toContainText('0 1 2');
  await slow.getByRole('button', { name: 'Stop this answer' }).press('Enter');
  await expect(slow).toContainText('You stopped this answer.');
  await expectAccessible(page);
  await page.setViewportSize({ width: 375, height: 800 });
  const [above, below] = [await quick.boundingBox(), await slow.boundingBox()];
  expect(below?.x).toBe(above?.x);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(375);
  await slow.getByRole('button', { name: 'Continue with this answer' }).press('Enter');
  await expect(box(page)).toBeFocused();
  await expect(pair).toHaveCount(0);
  await expect(log(page)).toContainText('2 of 2');
  await expect(page.getByLabel('Model', { exact: true })).toHaveValue('test/slow-stream-60');
});

test('what is wished of the gateway is shown, sent and honoured', async ({ page, gateway }) => {
  await useOpenAi(page, gateway.url, 'test/echo');
  await page.getByRole('button', { name: 'Parameters' }).click();
  await page.getByLabel('Form of the answer').selectOption('JSON');
  await page.getByText('Wishes to the gateway').click();
  await page.getByLabel('Cache key').fill('the same');
  await page.getByLabel('Metadata').fill('team: search');
  await page.getByLabel('Keep the answer').fill('5'); // too short, so it is not sent
  await page.getByText('The next request').click();
  await box(page).fill('Again?');
  const request = page.getByRole('region', { name: 'The next request' });
  await expect(request).toContainText('cf-aig-cache-key: the same');
  await expect(request).toContainText('"content": "Again?"');
  await expect(request).not.toContainText('cf-aig-cache-ttl');
  await expectAccessible(page);
  const sending = page.waitForRequest(CHAT);
  await ask(page, 'Again?');
  const sent = await sending;
  expect(sent.headers()).toMatchObject({
    'cf-aig-cache-key': 'the same',
    'cf-aig-metadata': '{"team":"search"}',
  });
  expect(sent.postDataJSON()).toMatchObject({ response_format: { type: 'json_object' } });
  await expect(page.locator('.answer').last()).toContainText('MISS');
  await page.getByRole('button', { name: 'Regenerate' }).click();
  await expect(page.locator('.answer').last()).toContainText('HIT');
  const row = await page.getByRole('link', { name: 'This request in the log' }).getAttribute('href');
  expect(row).toMatch(/^\/logs\/[0-9A-Z]{26}$/);
});

test('pictures go with a question once somebody says that the model sees them', async ({ page, gateway }) => {
  await page.goto('/chat');
  const paste = () =>
    box(page).evaluate(async (area) => {
      const canvas = new OffscreenCanvas(3000, 100);
      canvas.getContext('2d');
      const files = new DataTransfer();
      files.items.add(new File([await canvas.convertToBlob()], 'wide.png', { type: 'image/png' }));
      area.dispatchEvent(
        new ClipboardEvent('paste', { clipboardData: files, bubbles: true, cancelable: true }),
      );
    });
  await paste();
  await expect(page.getByText('The local model reads text only.')).toBeVisible();
  await useOpenAi(page, gateway.url, 'test/echo');
  const asked: unknown[] = [];
  await answerWith(page, ({ messages }) => {
    asked.push(messages.at(-1)?.content);
    return said('A line.');
  });
  await paste();
  await page.getByRole('button', { name: 'Add them anyway' }).click();
  const name = page.getByRole('textbox', { name: 'Description of picture 1' });
  await expect(name).toHaveValue('wide.png');
  await name.fill('A wide line');
  await paste();
  await page.getByRole('button', { name: 'Remove picture 2' }).click();
  await expectAccessible(page);
  await ask(page, 'What is it?');
  const picture = log(page).getByRole('img', { name: 'A wide line' });
  await expect(picture).toBeVisible();
  expect(asked).toMatchObject([
    [
      { type: 'text', text: 'What is it?' },
      { type: 'image_url', image_url: { url: /^data:image\/jpeg;base64,/ } },
    ],
  ]);
  expect(await picture.evaluate((image) => (image as HTMLImageElement).naturalWidth)).toBe(2048);
  await expect(page.locator('[data-saving="saved"]')).toBeVisible();
  await page.reload();
  await expect(picture).toBeVisible();
});

test('a conversation that is too long is shortened, and an error within an answer is told', async ({
  page,
  gateway,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 400/);
  await useOpenAi(page, gateway.url, 'gpt-4o');
  const tooLong = { message: 'prompt is too long: 9 tokens > 8 maximum', type: 'invalid_request_error' };
  const lengths: number[] = [];
  await answerWith(page, ({ messages }) => {
    lengths.push(messages.length);
    if (messages.length > 3) return { status: 400, json: { error: tooLong } };
    if (messages.length < 3) return said('Yes.');
    return streamed(
      { choices: [{ delta: { content: 'Half an ans' } }] },
      { error: { message: 'Overloaded.' } },
    );
  });
  await ask(page, 'One?');
  await ask(page, 'Two?');
  await expect(log(page)).toContainText('Overloaded.');
  await expect(log(page)).toContainText('Half an ans');
  await page.getByRole('button', { name: 'Continue', exact: true }).click();
  await expect(log(page)).toContainText('longer than this model can take in');
  await page.getByRole('button', { name: 'Leave out the older half and retry' }).click();
  await expect(log(page)).toContainText('The 2 messages above are not sent to the model.');
  await expect(log(page)).toContainText('Yes.');
  expect(lengths).toEqual([1, 3, 5, 1]);
  await page.getByRole('button', { name: 'Send all again' }).click();
  await expect(log(page)).not.toContainText('are not sent');
});

test('an exchange of the log is repeated beside the answer that it had', async ({ page, gateway }) => {
  const headers = { origin: gateway.url, 'x-trunkline-console': '1' };
  const kept = await page.request.patch('/api/gateways/default', {
    headers,
    data: { logging: { payloads: true } },
  });
  expect(kept.status()).toBe(200);
  const data = {
    model: 'test/echo',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Once' },
    ],
  };
  const answer = await page.request.post('/v1/local/default/local/chat/completions', { data });
  await page.goto(`/chat?replay=${answer.headers()['cf-aig-log-id'] ?? ''}`);
  await expect(log(page).getByRole('article')).toHaveCount(2);
  await expect(page).toHaveURL(/\/chat\/[0-9a-f]{32}$/);
  await page.getByRole('button', { name: 'Parameters' }).click();
  await expect(page.getByLabel('System prompt')).toHaveValue('Be brief.');
  await page.getByRole('button', { name: 'Regenerate' }).click();
  await expect(log(page)).toContainText('2 of 2');
  const other = await page.request.post('/v1/local/default/local/embeddings', {
    data: { model: 'local', input: 'x' },
  });
  await page.goto(`/chat?replay=${other.headers()['cf-aig-log-id'] ?? ''}`);
  await expect(page.getByRole('alert')).toContainText('This exchange cannot be repeated here');
});
