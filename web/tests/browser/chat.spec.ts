import { expect, expectAccessible, test } from './fixtures';

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
