import { readFileSync } from 'node:fs';

import type { Page } from '@playwright/test';

import { expect, expectAccessible, test } from './fixtures';

/** Each test has conversations of its own among those of the others. */
function word(): string {
  return `word${Math.random().toString(36).slice(2, 10)}`;
}

async function keep(page: Page, url: string, id: string, change: object): Promise<void> {
  const headers = { origin: url, 'x-trunkline-console': '1' };
  const answer = await page.request.put(`${url}/api/conversations/${id}`, { headers, data: change });
  expect(answer.status()).toBe(200);
}

function said(text: string): object[] {
  return [{ id: 'q', parent: null, role: 'user', text, created_at: 1_790_000_000 }];
}

async function exists(page: Page, id: string): Promise<boolean> {
  return (await page.request.get(`/api/conversations/${id}`)).ok();
}

const rows = (page: Page) => page.getByRole('list', { name: 'History' }).getByRole('listitem');

test('conversations of both kinds are found, named, tagged, pinned and archived, by keyboard too', async ({
  page,
  gateway: { url },
}) => {
  const mine = word();
  await keep(page, url, `${mine}-a`, {
    title: `Maps ${mine}`,
    messages: said('Where is the <b>Watzmann</b>?'),
  });
  await keep(page, url, `${mine}-b`, { kind: 'voice', messages: said(`Spoken ${mine}`) });
  await page.goto('/history');
  await expect(rows(page)).not.toHaveCount(0);
  await page.keyboard.press('/');
  await page.keyboard.type(`${mine}`);
  await expect(rows(page)).toHaveCount(2);
  await page.getByLabel('Kind').selectOption('voice');
  await expect(rows(page)).toHaveCount(1);
  await page.getByLabel('Kind').selectOption('');

  const row = rows(page).filter({ hasText: `Maps ${mine}` });
  await row.getByRole('button', { name: 'Rename or tag' }).press('Enter');
  await expect(page.getByLabel('Name', { exact: true })).toBeFocused();
  await page.keyboard.type('Summits');
  await page.keyboard.press('Tab');
  await page.keyboard.type(`${mine},  alps, alps`);
  await page.keyboard.press('Enter');
  await expect(row).toHaveCount(0); // its name has the word no more, its messages never had
  await page.getByRole('searchbox').fill('');
  await page.getByLabel('Tag', { exact: true }).selectOption(mine);
  await expect(rows(page)).toHaveText(/Summits.*alps/);

  await page.reload(); // the address says what is looked at
  await expect(page.getByLabel('Tag', { exact: true })).toHaveValue(mine);
  await rows(page).getByRole('button', { name: 'Pin Summits' }).press('Enter');
  await expect(rows(page).getByText('(Pinned)')).toBeAttached();
  await page.getByRole('searchbox').fill('watz');
  await expect(rows(page).locator('mark')).toHaveText('Watzmann');
  await expect(rows(page)).toContainText('<b>'); // as text
  await expectAccessible(page);
  await rows(page).getByRole('button', { name: 'Archive Summits' }).click();
  await expect(page.getByText('No conversation fits.')).toBeVisible();
  await page.getByLabel('Archive', { exact: true }).selectOption('archived');
  await expect(rows(page).getByRole('link', { name: 'Text: Summits' })).toHaveAttribute(
    'href',
    `/chat/${mine}-a`,
  );
});

test('several are exported, deleted and brought back; what is not brought back goes with the page', async ({
  page,
  gateway: { url },
}) => {
  const mine = word();
  for (const id of ['a', 'b', 'c']) {
    await keep(page, url, `${mine}-${id}`, { title: `Title ${id}`, tags: [mine], messages: said('Hello') });
  }
  await page.goto(`/history?tag=${mine}`);
  await page.getByLabel('Select Title a').check();
  await page.getByLabel('Select Title b').check();
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Export', exact: true }).click();
  const file = readFileSync(await (await download).path(), 'utf8');
  expect(file.trim().split('\n')).toHaveLength(2);

  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(rows(page)).toHaveText(/Title c/);
  await expect(page.getByRole('button', { name: 'Undo' })).toBeFocused();
  await expectAccessible(page);
  expect(await exists(page, `${mine}-a`)).toBe(true);
  await page.keyboard.press('Enter');
  await expect(rows(page)).toHaveCount(3);
  expect(await exists(page, `${mine}-a`)).toBe(true);

  await page.getByRole('button', { name: 'Delete Title a' }).click();
  await page.getByRole('button', { name: 'Delete Title b' }).click(); // the one before is deleted at once
  await expect.poll(() => exists(page, `${mine}-a`)).toBe(false);
  expect(await exists(page, `${mine}-b`)).toBe(true);
  await page.getByRole('link', { name: 'Settings' }).first().click();
  await expect.poll(() => exists(page, `${mine}-b`)).toBe(false);
  await page.goto(`/history?tag=${mine}`);
  await page.getByRole('button', { name: 'Delete Title c' }).click();
  await page.goto('about:blank'); // the document itself goes
  await expect
    .poll(async () => (await page.request.get(`${url}/api/conversations/${mine}-c`)).status())
    .toBe(404);

  // And back from the file.
  await page.goto(`/history?tag=${mine}`);
  await page.getByRole('button', { name: 'Import…' }).first().click();
  await page
    .locator('input[type=file]')
    .setInputFiles({ name: 'x.ndjson', mimeType: 'application/x-ndjson', buffer: Buffer.from(file) });
  await expect(page.getByText('Imported: 2 new')).toBeVisible();
  await expect(rows(page)).toHaveCount(2);
});
