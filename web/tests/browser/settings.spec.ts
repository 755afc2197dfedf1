import type { Page } from '@playwright/test';

import { expect, expectAccessible, KEY, test } from './fixtures';
import { expectNoSecret } from './secrets';

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

test('what the proof of concept left behind is taken over and deleted; what is pasted leaves no trace', async ({
  page,
}) => {
  const kept = {
    accountId: 'f00d',
    gatewayId: 'voice',
    openaiKey: KEY,
    useAuthGateway: false,
    model: 'gpt-4o',
  };
  await page.goto('/settings');
  await page.evaluate((text) => localStorage.setItem('cf_ai_gateway_config', text), JSON.stringify(kept));
  await page.reload();
  await page.getByRole('button', { name: 'Take them over, and delete them here' }).click();
  await expect(
    page.getByText('Taken over: Provider key, Model. The ids f00d/voice are Cloudflare’s'),
  ).toBeVisible();
  await expect(page.getByRole('group', { name: 'Provider key for OpenAI' })).toContainText(KEY.slice(-4));
  await expect(page.getByText('Now delete the old ones')).toHaveCount(0);
  await expectNoSecret(page);

  await page.getByText('Paste or choose its settings').first().click();
  const box = page.getByRole('textbox', { name: 'Paste or choose its settings' });
  await box.fill('{"nothing": "of it"}');
  await page.getByRole('button', { name: 'Take over', exact: true }).click();
  await expect(page.getByRole('alert')).toContainText('This is no JSON object');
  await box.fill(JSON.stringify({ ...kept, openaiKey: KEY }));
  await page.getByRole('button', { name: 'Take over', exact: true }).click();
  await expect(page.getByText('Now delete the old ones')).toBeVisible();
  await expectNoSecret(page);
  await expectAccessible(page);
  await page.getByRole('checkbox', { name: 'Reduce motion' }).check();
  await page.reload();
  await expect(page.locator('html')).toHaveAttribute('data-calm', '');
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
