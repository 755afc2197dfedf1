import { rmSync } from 'node:fs';

import { expect, test, TOKEN } from './fixtures';
import { dataDirectory, start, type Program } from './program';
import { changeSession } from './secrets';

const data = dataDirectory();
const environment = { TRUNKLINE_DATA_DIR: data };
let running: Program;

test.beforeAll(async () => {
  running = await start(['serve', '--port', '0'], environment);
});
test.afterAll(async () => {
  await running.stop();
  rmSync(data, { recursive: true, force: true });
});

test('a gateway that crashes and comes back takes nothing along: banner, draft, lists, and what it forgot', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/);
  const { url } = running;
  const headers = { origin: url, 'x-trunkline-console': '1' };
  const message = { id: 'q', parent: null, role: 'user', text: 'Hello', created_at: 1_790_000_000 };
  await page.request.put(`${url}/api/conversations/before`, {
    headers,
    data: { title: 'Said before', messages: [message] },
  });
  await changeSession(page, url, { gateway_token: TOKEN });

  await page.goto(`${url}/chat`);
  const draft = page.getByRole('textbox', { name: 'Message', exact: true });
  await draft.fill('Not sent yet');
  await page.getByRole('link', { name: 'History' }).click();
  const row = page.getByRole('list', { name: 'History' }).getByText('Said before');
  await expect(row).toBeVisible();
  await running.kill();

  await page.getByLabel('Archive', { exact: true }).selectOption('archived');
  const banners = page.getByRole('status', { name: 'Notices' });
  await expect(banners).toContainText('The gateway does not answer.');
  await expect(page.getByText('This may be out of date')).toBeVisible();
  await page.getByLabel('Archive', { exact: true }).selectOption('');
  await expect(row).toBeVisible();

  running = await start(['serve', '--port', new URL(url).port], environment);
  await expect(page.getByText('This may be out of date')).toHaveCount(0); // by itself
  await expect(row).toBeVisible();
  await expect(banners).toContainText('Keys are kept in its memory only'); // a key that was typed was forgotten
  await expect(banners).not.toContainText('does not answer');
  await page.getByRole('link', { name: 'Chat', exact: true }).click();
  await expect(draft).toHaveValue('Not sent yet');
});

test('who is signed in still is after the gateway was killed', async ({ page, expectedErrors }) => {
  expectedErrors.push(/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/);
  const { url } = running;
  await expect.poll(() => /login#\S+/.test(running.output())).toBe(true);
  const token = /login#(\S+)/.exec(running.output())?.[1];
  const redeemed = await page.request.post(`${url}/api/account/redeem`, {
    headers: { origin: url, 'x-trunkline-console': '1' },
    data: { token, name: 'Ada', password: 'a horse that staples batteries' },
  });
  expect(redeemed.status()).toBe(200);
  await page.goto(`${url}/history`);
  const person = page.getByRole('link', { name: 'Signed in as Ada' });
  await expect(person).toBeVisible();
  await running.kill();
  await page.getByRole('searchbox').fill('x');
  const banners = page.getByRole('status', { name: 'Notices' });
  await expect(banners).toContainText('The gateway does not answer.');
  running = await start(['serve', '--port', new URL(url).port], environment);
  await expect(banners).toContainText('is back. Your settings are still there.');
  await expect(person).toBeVisible();
  await expect(page.getByText('No conversation fits.')).toBeVisible();
});
