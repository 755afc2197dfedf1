import type { Page } from '@playwright/test';

import { expect, expectAccessible, test } from './fixtures';

const dialog = (page: Page) => page.getByRole('dialog');

test('a gateway is made, set up, chosen, called by the text that is shown, and deleted by its name', async ({
  page,
  gateway,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 4\d\d/);
  const name = `team-${Math.random().toString(36).slice(2, 8)}`;
  const known = async (): Promise<unknown> =>
    (await page.request.get(`${gateway.url}/api/gateways/${name}`)).json();
  await page.goto('/gateways');
  await page.getByRole('button', { name: 'New gateway' }).click();
  const field = dialog(page).getByLabel('Name', { exact: true });
  await field.fill('no such name');
  await field.press('Enter');
  await expect(field).toHaveAccessibleDescription(/Begin with a letter/);
  await field.fill('default');
  await field.press('Enter');
  await expect(dialog(page).getByRole('alert')).toContainText('There is a gateway');
  await expectAccessible(page);
  await field.fill(name);
  await field.press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(name);
  await expect(page).toHaveURL(`${gateway.url}/gateways/${name}`);

  await page.getByLabel('Keep answers for').fill('soon');
  await page.getByLabel('Tries in all').fill('9');
  await page.getByRole('button', { name: 'Save the settings' }).click();
  await expect(page.getByLabel('Keep answers for')).toHaveAccessibleDescription(/no length of time/);
  await page.getByLabel('Keep answers for').fill('10m');
  await page.getByRole('button', { name: 'Save the settings' }).click();
  await expect(page.getByLabel('Tries in all')).toHaveAccessibleDescription(/<= 5/);
  await expectAccessible(page);
  await page.getByLabel('Tries in all').fill('2');
  await page.getByLabel('Voice sessions', { exact: true }).fill('4');
  await page.getByLabel('Prices of your own').fill('local/* in=2.5 out=10');
  await expect(page.getByText('4 changes not saved')).toBeVisible();
  await page.getByRole('button', { name: 'Save the settings' }).click();
  await expect(page.getByRole('button', { name: 'Save the settings' })).toHaveCount(0);
  expect(await known()).toMatchObject({
    authenticated: true,
    realtime: { limits: { sessions: '4/day' } },
    logging: { custom_costs: [{ provider: 'local', prices: { per_token_in: 2.5e-6 } }] },
    control: { cache: { ttl: 600 }, attempts: { max_attempts: 2 } },
  });

  await page.getByRole('button', { name: 'Add a check' }).click();
  await dialog(page).getByLabel('Name', { exact: true }).fill('rivals');
  await dialog(page).getByLabel('Looks for').selectOption('words and phrases');
  await dialog(page).getByLabel('Words and phrases').fill('our rivals: acme, acme corp*');
  await dialog(page).getByRole('button', { name: 'Save the check' }).click();
  await expect(page.locator('[data-guard="rivals"]')).toContainText('refuse the exchange');

  const base = (await page.locator('[data-base]').textContent()) ?? '';
  const made = await page.request.post(`${gateway.url}/api/gateways/${name}/keys`, { data: {} });
  const { value } = (await made.json()) as { value: string };
  const ask = async (content: string, key = value): Promise<number> =>
    (
      await page.request.post(`${base}/chat/completions`, {
        headers: { authorization: `Bearer ${key}` },
        data: { model: 'local/local', max_tokens: 1, messages: [{ role: 'user', content }] },
      })
    ).status();
  expect([await ask('Hello', 'no key'), await ask('Hello')]).toEqual([401, 200]);
  expect(await ask('What of ACME?')).toBeGreaterThanOrEqual(400);
  await page.reload();
  await page.getByRole('button', { name: 'Empty the cache' }).click();
  await dialog(page).getByRole('button', { name: 'Empty the cache' }).click();
  await expect(dialog(page)).toBeHidden();
  await expect(page.getByRole('button', { name: 'Empty the cache' })).toBeDisabled();

  await page.getByRole('combobox', { name: 'Gateway', exact: true }).selectOption(name);
  await page.goto('/access');
  await expect(page.getByText(`Who may call the gateway ${name}`)).toBeVisible();
  await expect(page.getByRole('heading', { name: 'unnamed' })).toBeVisible();

  await page.goto(`/gateways/${name}`);
  await page.setViewportSize({ width: 375, height: 800 });
  await expect(page.locator('[data-base]')).toBeVisible();
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Delete the gateway' }).click();
  await expect(dialog(page).getByRole('button', { name: 'Delete the gateway' })).toBeDisabled();
  await dialog(page).getByLabel(`Type ${name} to confirm`).fill(name);
  await dialog(page).getByRole('button', { name: 'Delete the gateway' }).click();
  await expect(page).toHaveURL(`${gateway.url}/gateways`);
  await expect(page.getByRole('heading', { level: 1 })).toBeFocused();
  await expect(page.locator('[data-gateway="default"]')).toContainText('used by this browser');
  await expect(page.locator(`[data-gateway="${name}"]`)).toHaveCount(0);
  expect(await ask('Hello')).toBeGreaterThanOrEqual(400);
});
