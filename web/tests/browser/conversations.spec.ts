import { readFileSync } from 'node:fs';

import type { Page } from '@playwright/test';

import { expect, expectAccessible, test } from './fixtures';
import { connect, panel, transcript, type } from './voice-page';

/** Each test has conversations of its own among those of the others. */
function word(): string {
  return `word${Math.random().toString(36).slice(2, 10)}`;
}

async function echoed(page: Page, text: string): Promise<void> {
  await page.getByRole('textbox', { name: 'Message', exact: true }).fill(text);
  await page.keyboard.press('Enter');
  await expect(page.locator('[data-status="idle"]')).toBeVisible();
}

async function stored(page: Page): Promise<void> {
  await expect(page.locator('[data-saving="saved"]')).toBeVisible();
}

async function echoModel(page: Page): Promise<void> {
  await page.route('**/v1/local/default/local/chat/completions', async (route) => {
    const body = { ...(route.request().postDataJSON() as object), model: 'test/echo' };
    await route.continue({ postData: JSON.stringify(body) });
  });
}

async function list(page: Page) {
  const button = page.getByRole('button', { name: 'Conversations', exact: true });
  if ((await button.getAttribute('aria-expanded')) === 'false') await button.click();
  return page.getByRole('complementary', { name: 'Conversations' });
}

const log = (page: Page) => page.getByRole('log', { name: 'Conversation' });

test('a conversation is there again after the page was left, with its branches', async ({ page }) => {
  const mine = word();
  await page.goto('/chat');
  await echoModel(page);
  await echoed(page, `Tell ${mine}`);
  await page.getByRole('button', { name: 'Edit', exact: true }).click();
  await page.getByRole('textbox', { name: 'Edit your message' }).fill(`Whisper ${mine}`);
  await page.keyboard.press('Enter');
  await expect(page.locator('[data-status="idle"]')).toBeVisible();
  await stored(page);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  expect(kept).not.toContain(mine);

  await page.goto('/chat');
  const conversations = await list(page);
  await conversations.getByRole('searchbox').fill(`whis ${mine}`);
  const found = conversations.getByRole('list', { name: 'Found' }).getByRole('listitem');
  await expect(found).toHaveCount(1);
  await expect(found.locator('mark').first()).toHaveText('Whisper');
  await expectAccessible(page);
  await found.getByRole('link').click();
  await expect(log(page)).toContainText(`Whisper ${mine}`);
  await expect(log(page)).toContainText('2 of 2');
  await page.getByRole('button', { name: 'Previous version' }).first().click();
  await expect(log(page)).toContainText(`Tell ${mine}`);
});

test('a conversation is renamed, exported and deleted', async ({ page }) => {
  const mine = word();
  await page.goto('/chat');
  await echoModel(page);
  await echoed(page, `Ask ${mine}`);
  await stored(page);
  const conversations = await list(page);
  const name = conversations.getByRole('textbox', { name: 'Name of the conversation' });
  await expect(name).toHaveValue(`Ask ${mine}`);
  await name.fill(`Called ${mine}`);
  await page.keyboard.press('Enter');
  await expect(conversations.getByRole('list').getByText(`Called ${mine}`)).toBeVisible();

  const download = page.waitForEvent('download');
  await conversations.getByRole('link', { name: 'Export as Markdown' }).click();
  const file = await (await download).path();
  expect(readFileSync(file, 'utf8')).toMatch(new RegExp(`^# Called ${mine}\n\n## User\n\nAsk ${mine}\n`));

  await conversations.getByRole('button', { name: `Delete Called ${mine}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(conversations.getByText(`Called ${mine}`)).toHaveCount(0);
  await expect(log(page)).not.toContainText(mine);
  const answer = await page.request.get(`/api/conversations/search?q=${mine}`);
  expect(await answer.json()).toEqual({ hits: [] });
});

test('an export of another program is imported, and a second time adds nothing', async ({ page }) => {
  const mine = word();
  const said = (role: string, text: string) => ({
    author: { role },
    content: { content_type: 'text', parts: [text] },
  });
  const conversation = {
    title: `Imported ${mine}`,
    create_time: 1700000000,
    update_time: 1700000000,
    current_node: 'a',
    id: mine,
    mapping: {
      root: { parent: null, children: ['q'], message: null },
      q: { parent: 'root', children: ['a'], message: said('user', 'Name a mountain') },
      a: { parent: 'q', children: [], message: said('assistant', '**Watzmann**') },
    },
  };
  const file = {
    name: 'conversations.json',
    mimeType: 'application/json',
    buffer: Buffer.from(JSON.stringify([conversation, { mapping: 3 }])),
  };
  await page.goto('/chat');
  const conversations = await list(page);
  for (const outcome of ['Imported: 1 new', 'Imported: 0 new, 0 with more messages, 1 known already']) {
    await conversations.locator('input[type=file]').setInputFiles(file);
    await expect(conversations.getByText(outcome)).toBeVisible();
  }
  await conversations.getByText('Left out').last().click();
  await expect(conversations.getByText("Entry 2: 'mapping' must be an object.")).toBeVisible();
  await conversations.getByRole('searchbox').fill(mine);
  await conversations.getByRole('list', { name: 'Found' }).getByRole('link').click();
  await expect(log(page).locator('strong')).toHaveText('Watzmann');
  await expectAccessible(page);
});

test('what cannot be stored yet stays, says so, and is stored when the gateway is back', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/ERR_FAILED/);
  const mine = word();
  await page.goto('/chat');
  await echoModel(page);
  await page.route('**/api/conversations/*', (route) => route.abort());
  await echoed(page, `Remember ${mine}`);
  await expect(page.getByText('this conversation is not stored yet')).toBeVisible();
  await expect(log(page)).toContainText(`Remember ${mine}`);
  await page.unroute('**/api/conversations/*');
  await stored(page);
  await expect(page.getByText('this conversation is not stored yet')).toHaveCount(0);
  const answer = await page.request.get(`/api/conversations/search?q=${mine}`);
  expect(((await answer.json()) as { hits: unknown[] }).hits).toHaveLength(1);
});

test('what is said in a call is in the same list', async ({ page }) => {
  const mine = word();
  await page.goto('/voice');
  await connect(page);
  await type(page, `Say ${mine}`);
  await expect(transcript(page)).toContainText(mine);
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await expect(panel(page)).toHaveAttribute('data-status', 'idle');
  await expect
    .poll(async () => {
      const answer = await page.request.get(`/api/conversations/search?q=${mine}`);
      return ((await answer.json()) as { hits: { conversation: { kind: string } }[] }).hits[0]?.conversation
        .kind;
    })
    .toBe('voice');
  await page.goto('/chat');
  const conversations = await list(page);
  await conversations.getByRole('searchbox').fill(mine);
  await conversations.getByRole('list', { name: 'Found' }).getByRole('link').click();
  await expect(log(page)).toContainText(`Say ${mine}`);
});
