import type { Page } from '@playwright/test';

import { expect, expectAccessible, KEY, test } from './fixtures';

const BRIEFLY = { timeout: 1000 };

test('a key is typed once, works on every transport, and is found nowhere in the browser', async ({
  page,
}) => {
  const addresses: string[] = [];
  page.on('request', (request) => addresses.push(request.url()));
  page.on('websocket', (socket) => addresses.push(socket.url()));
  await page.goto('/settings');
  await page.getByLabel('Provider', { exact: true }).selectOption('openai');
  await typeKey(page, KEY);
  await expect(
    page
      .getByText(`set, ending in ${KEY.slice(-4)}`)
      .or(page.getByText(`…${KEY.slice(-4)}`))
      .first(),
  ).toBeVisible();
  await chooseModel(page, 'local');
  await page.getByRole('button', { name: 'Test connection' }).click();
  await expect(page.getByText('works', { exact: true })).toHaveCount(3);
  await expectAccessible(page);

  const held = await page.evaluate(async () => {
    const databases = await indexedDB.databases();
    return JSON.stringify([
      { ...localStorage },
      { ...sessionStorage },
      databases,
      document.cookie,
      location.href,
    ]);
  });
  const fields = await page.evaluate(() =>
    [...document.querySelectorAll('input, textarea')]
      .map((field) => (field as HTMLInputElement).value)
      .join(),
  );
  for (const place of [held, fields, await page.content(), addresses.join()])
    expect(place).not.toContain(KEY);
});

test('a wrong key fails on every transport, with the words of the provider', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 401/);
  await page.goto('/settings');
  await page.getByLabel('Provider', { exact: true }).selectOption('openai');
  await typeKey(page, 'sk-wrong-key-0000');
  await chooseModel(page, 'local');
  await page.getByRole('button', { name: 'Test connection' }).click();
  await expect(page.getByText('failed', { exact: true })).toHaveCount(3);
  await expect(page.getByText(/The API key is not the one/).first()).toBeVisible();
});

test('erasing forgets the key on the gateway too', async ({ page }) => {
  await page.goto('/settings');
  await page.getByLabel('Provider', { exact: true }).selectOption('openai');
  await typeKey(page, KEY);
  await page.getByRole('button', { name: 'Erase everything in this browser' }).click();
  await page.getByRole('button', { name: 'Erase', exact: true }).click();
  await expect(page.getByText('Everything was erased.')).toBeVisible();
  const session = (await (await page.request.get('/api/session')).json()) as { provider_keys: object };
  expect(session.provider_keys).toEqual({});
});

test('theme and language are kept, and the second language is complete', async ({ page }) => {
  await page.goto('/settings');
  await page.getByLabel('Language').selectOption('de');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Einstellungen');
  await expect(page.locator('html')).toHaveAttribute('lang', 'de');
  await page.reload();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Einstellungen');
});

async function typeKey(page: Page, key: string): Promise<void> {
  await page.getByLabel(/^Provider key/).fill(key);
  await page.getByRole('button', { name: /^Save Provider key/i }).click();
  await expect(page.getByRole('button', { name: /^Replace Provider key/i })).toBeVisible();
}

async function chooseModel(page: Page, model: string): Promise<void> {
  for (const name of ['Model', 'Realtime model']) {
    const field = page.getByLabel(name, { exact: true });
    // A list where the provider gives one, else a text box: one becomes the other when the provider's answer comes.
    await expect(async () => {
      if (await page.locator('select').and(field).isVisible()) await field.selectOption(model, BRIEFLY);
      else {
        await field.fill(model, BRIEFLY);
        await field.blur(BRIEFLY);
      }
      await expect(field).toHaveValue(model, BRIEFLY);
    }).toPass();
  }
}
