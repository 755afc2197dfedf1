import type { Page } from '@playwright/test';

import { expect, expectAccessible, KEY, test } from './fixtures';
import { changeSession, expectNoSecret } from './secrets';

const dialog = (page: Page) => page.getByRole('dialog');

/** A gateway of the test's own, chosen in its browser. */
async function ownGateway(page: Page, url: string): Promise<string> {
  const id = `own-${Math.random().toString(36).slice(2, 10)}`;
  expect((await page.request.post(`${url}/api/gateways`, { data: { id } })).status()).toBe(201);
  await changeSession(page, url, { gateway_id: id });
  return id;
}

async function ask(page: Page, address: string, key: string): Promise<number> {
  const answer = await page.request.post(`${address}/chat/completions`, {
    headers: { authorization: `Bearer ${key}` },
    data: { model: 'local', max_tokens: 1, messages: [{ role: 'user', content: 'Hello' }] },
  });
  return answer.status();
}

/** Reads the secret that is shown once, says that it is stored, and fails when anything of it stays. */
async function takeSecret(page: Page): Promise<string> {
  const secret = (await page.locator('[data-secret]').textContent()) ?? '';
  expect(secret).toMatch(/^tlk_[0-9a-f]{48}$/);
  await page.keyboard.press('Escape');
  await expect(page.locator('[data-secret]')).toBeVisible();
  await expectAccessible(page);
  await page.getByRole('button', { name: 'I have stored it' }).click();
  await expect(dialog(page)).toBeHidden();
  const left = await page.evaluate(() =>
    JSON.stringify([
      { ...localStorage },
      { ...sessionStorage },
      location.href,
      history.state,
      document.cookie,
    ]),
  );
  expect(left + (await page.content())).not.toContain(secret);
  await expectNoSecret(page);
  return secret;
}

async function expectFit(page: Page): Promise<void> {
  await expectAccessible(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
}

test('a key made here works until its limit is reached, shares it with the key that follows, and is refused once revoked', async ({
  page,
  gateway,
}) => {
  const id = await ownGateway(page, gateway.url);
  const address = `${gateway.url}/v1/local/${id}/local`;
  await page.goto('/access');
  await expect(page.getByRole('heading', { name: 'There is no key yet' })).toBeVisible();
  await expectAccessible(page);

  await page.getByRole('button', { name: 'New key' }).first().press('Enter');
  await dialog(page).getByLabel('What it is for').fill('phone app');
  await dialog(page).getByLabel('Requests', { exact: true }).fill('many');
  await dialog(page).getByRole('button', { name: 'Make the key' }).press('Enter');
  await expect(dialog(page).getByLabel('Requests', { exact: true })).toBeFocused();
  await dialog(page).getByLabel('Requests', { exact: true }).fill('1');
  await dialog(page).getByLabel('Requests: time').selectOption('day');
  await expectAccessible(page);
  await dialog(page).getByLabel('Requests', { exact: true }).press('Enter');
  const first = await takeSecret(page);
  expect(await ask(page, address, first)).toBe(200);
  expect(await ask(page, address, first)).toBe(429);

  const card = page.locator('[data-key]').first();
  await page.reload();
  await expect(card).toContainText('1 of 1');
  await expect(card).toContainText('used up');
  await expect(card.getByRole('link', { name: /used for/ })).toHaveAttribute('href', /^\/logs\?.*q=key:key_/);

  await card.getByRole('button', { name: 'Change limits of phone app' }).click();
  await dialog(page).getByLabel('Requests', { exact: true }).fill('3');
  await dialog(page).getByRole('button', { name: 'Save the limits' }).click();
  await expect(card).toContainText('1 of 3');
  await card.getByRole('button', { name: 'Rotate phone app' }).click();
  await dialog(page).getByLabel('The old key ends').selectOption('in an hour');
  await dialog(page).getByRole('button', { name: 'Make the new key' }).click();
  const second = await takeSecret(page);
  expect([await ask(page, address, first), await ask(page, address, second)]).toEqual([200, 200]);
  expect([await ask(page, address, first), await ask(page, address, second)]).toEqual([429, 429]);

  await card.getByRole('button', { name: 'Revoke phone app' }).click();
  const revoke = dialog(page).getByRole('button', { name: 'Revoke the key' });
  await expect(revoke).toBeDisabled();
  await dialog(page).getByLabel('Type phone app to confirm').fill('phone app');
  await revoke.click();
  await expect(dialog(page)).toBeHidden();
  expect(await ask(page, address, second)).toBe(401);
  await expect(page.locator('[data-key]')).toHaveCount(1);
  await page.getByLabel('Show keys that have ended (1)').check();
  await expect(page.locator('[data-state="revoked"]')).toHaveCount(1);
  await page.setViewportSize({ width: 375, height: 800 });
  await expectFit(page);
});

test('limits of the gateway and its provider keys are set here, with what is wrong at its field', async ({
  page,
  gateway,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 400/);
  const id = await ownGateway(page, gateway.url);
  await page.goto('/access');
  await page.getByRole('button', { name: 'Add a limit' }).click();
  await dialog(page).getByLabel('Name', { exact: true }).fill('each');
  const limit = dialog(page).getByLabel('How much');
  await limit.fill('1.5');
  await dialog(page).getByLabel('gateway key').check();
  await dialog(page).getByRole('button', { name: 'Add the limit' }).click();
  await expect(limit).toHaveAccessibleDescription(/whole number/);
  await expect(limit).toBeFocused();
  await expectAccessible(page);
  await limit.fill('5');
  await dialog(page).getByLabel('Only what fits').fill('model: local*');
  await dialog(page).getByRole('button', { name: 'Add the limit' }).click();
  const rule = page.locator('[data-rule="each"]');
  await expect(rule).toContainText(
    '5 requests per minute, by the clock, for each gateway key, only model: local*',
  );
  await rule.getByRole('button', { name: 'Switch off the limit each' }).click();
  await expect(rule.getByRole('button', { name: 'Switch on the limit each' })).toBeVisible();
  await rule.getByRole('button', { name: 'Remove the limit each' }).click();
  await dialog(page).getByRole('button', { name: 'Remove the limit' }).click();
  await expect(page.getByRole('heading', { name: 'There is no limit' })).toBeVisible();

  await page.getByRole('button', { name: 'Store a provider key' }).click();
  await dialog(page).getByLabel('Provider').selectOption('OpenAI');
  await dialog(page).getByLabel('Key', { exact: true }).fill(KEY);
  await dialog(page).getByRole('button', { name: 'Store the key' }).click();
  await expect(page.locator('[data-stored="openai/default"]')).toContainText(`…${KEY.slice(-4)}`);
  await expectNoSecret(page);
  const made = await page.request.post(`${gateway.url}/api/gateways/${id}/keys`, {
    headers: { 'x-trunkline-console': '1', origin: gateway.url },
    data: {},
  });
  const { value } = (await made.json()) as { value: string };
  const address = `${gateway.url}/v1/local/${id}/openai`;
  expect(await ask(page, address, value)).toBe(200);
  await page.getByRole('button', { name: 'Remove the key default of OpenAI' }).click();
  await dialog(page).getByRole('button', { name: 'Remove the key' }).click();
  await expect(page.locator('[data-stored]')).toHaveCount(0);
  expect(await ask(page, address, value)).toBe(401);
});
