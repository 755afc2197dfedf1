import type { Page } from '@playwright/test';

import { expect, expectAccessible, test, TOKEN } from './fixtures';
import { changeSession } from './secrets';

const SECRET = 'secret-of-a-custom-provider-0123456789';

/** Each test has a provider of its own among those of the others. */
function word(): string {
  return `own${Math.random().toString(36).slice(2, 10)}`;
}

const row = (page: Page, name: string) => page.locator(`[data-provider="custom-${name}"]`);
const form = (page: Page) => page.getByRole('dialog');

async function open(page: Page): Promise<void> {
  await page.goto('/providers');
  await page.getByRole('button', { name: 'Add a provider' }).click();
}

async function add(page: Page, name: string): Promise<void> {
  const data = { slug: name, name, base_url: 'https://ai.example.com/v1' };
  expect((await page.request.post('/api/providers/custom', { data })).status()).toBe(201);
}

test('a provider is added with a secret header, is offered at once, and its secret never comes back', async ({
  page,
}) => {
  const name = word();
  const addresses: string[] = [];
  const answers: Promise<string>[] = [];
  page.on('request', (request) => addresses.push(request.url()));
  page.on('response', (response) => {
    if (response.url().includes('/api/')) answers.push(response.text().catch(() => ''));
  });
  await open(page);
  await form(page).getByLabel('Name', { exact: true }).fill(name);
  await expect(form(page).getByLabel('Slug')).toHaveValue(name);
  await form(page).getByLabel('Base URL').fill('https://ai.example.com/v1');
  await form(page).getByRole('button', { name: 'Add a header' }).click();
  await form(page).getByLabel('Name of header 1').fill('x-tenant');
  await form(page).getByLabel('Value of header 1').fill(SECRET);
  await expectAccessible(page);
  await form(page).getByRole('button', { name: 'Add', exact: true }).click();
  await expect(form(page)).toBeHidden();
  await expect(row(page, name)).toContainText('console or API');
  await expect(row(page, name)).toContainText('https://ai.example.com/v1');

  await row(page, name)
    .getByRole('button', { name: `Edit ${name}` })
    .click();
  await expect(form(page).getByLabel('Name of header 1')).toHaveValue('x-tenant');
  await expect(form(page).getByLabel('Value of header 1')).toHaveValue('');
  await form(page).getByLabel('Chat path').fill('openai/chat/completions');
  await form(page).getByRole('button', { name: 'Save' }).click();
  await expect(form(page)).toBeHidden();
  const known = (await (await page.request.get('/api/providers/custom')).json()) as { slug: string }[];
  expect(known.find(({ slug }) => slug === name)).toMatchObject({
    chat_path: 'openai/chat/completions',
    headers: { 'x-tenant': '********' },
  });
  for (const place of [await page.content(), addresses.join(), ...(await Promise.all(answers))]) {
    expect(place).not.toContain(SECRET);
  }

  await page.goto('/settings');
  await page.getByLabel('Provider', { exact: true }).selectOption(`custom-${name}`);
});

for (const [address, words] of [
  ['https://10.0.0.1/v1', '10.0.0.1 is an address within this network.'],
  ['https://169.254.169.254/latest', '169.254.169.254 is an address within this network.'],
  ['http://ai.example.com/v1', 'keys would be readable on the way to ai.example.com; use https.'],
] as const) {
  test(`a provider at ${address} is refused with words at the field`, async ({ page, expectedErrors }) => {
    expectedErrors.push(/status of 400/);
    const name = word();
    await open(page);
    await form(page).getByLabel('Name', { exact: true }).fill(name);
    const field = form(page).getByLabel('Base URL');
    await field.fill(address);
    await form(page).getByRole('button', { name: 'Add', exact: true }).click();
    await expect(field).toHaveAccessibleDescription(new RegExp(words.replaceAll('.', '\\.')));
    await expect(field).toHaveAttribute('aria-invalid', 'true');
    await expect(field).toBeFocused();
    await expectAccessible(page);
    await field.fill('https://ai.example.com/v1');
    await form(page).getByRole('button', { name: 'Add', exact: true }).click();
    await expect(row(page, name)).toBeVisible();
  });
}

test('a provider is turned off and on, and removed only after a question', async ({ page }) => {
  const name = word();
  await add(page, name);
  await page.goto('/providers');
  await row(page, name)
    .getByRole('button', { name: `Turn off ${name}` })
    .click();
  await expect(row(page, name).getByRole('cell', { name: 'off', exact: true })).toBeVisible();
  await row(page, name)
    .getByRole('button', { name: `Turn on ${name}` })
    .click();
  await expect(row(page, name).getByRole('cell', { name: 'on', exact: true })).toBeVisible();
  await row(page, name)
    .getByRole('button', { name: `Remove ${name}` })
    .click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await expect(row(page, name)).toBeVisible();
  await row(page, name)
    .getByRole('button', { name: `Remove ${name}` })
    .click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove the provider' }).click();
  await expect(row(page, name)).toHaveCount(0);
});

test('a provider that moves to another host needs its headers anew, and says so', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 400/);
  const name = word();
  const data = {
    slug: name,
    name,
    base_url: 'https://ai.example.com/v1',
    headers: { 'x-tenant': SECRET },
  };
  expect((await page.request.post('/api/providers/custom', { data })).status()).toBe(201);
  await page.goto('/providers');
  await row(page, name)
    .getByRole('button', { name: `Edit ${name}` })
    .click();
  await form(page).getByLabel('Base URL').fill('https://elsewhere.example.com/v1');
  await form(page).getByRole('button', { name: 'Save' }).click();
  await expect(form(page).getByRole('alert')).toContainText('were given for another host');
  await form(page).getByLabel('Value of header 1').fill('another-secret-0123456789');
  await form(page).getByRole('button', { name: 'Save' }).click();
  await expect(form(page)).toBeHidden();
  await expect(row(page, name)).toContainText('https://elsewhere.example.com/v1');
});

test('providers are found by name, slug and address, and one is found by its key', async ({ page }) => {
  await page.goto('/providers');
  await expect(page.locator('[data-provider]').first()).toBeVisible();
  const all = await page.locator('[data-provider]').count();
  expect(all).toBeGreaterThan(20);
  await page.getByRole('searchbox', { name: 'Search' }).fill('api.anthropic.com');
  await expect(page.locator('[data-provider]')).toHaveCount(1);
  await expect(page.locator('[data-provider="anthropic"]')).toContainText('built in');
  await expect(page.locator('[data-provider="anthropic"]')).toContainText('none');
  await expect(page.getByText(`1 of ${all}`)).toBeVisible();

  const key = { key: 'sk-anthropic-in-the-vault-0123456789' };
  const path = '/api/gateways/default/stored-keys/anthropic/blue';
  expect((await page.request.put(path, { data: key })).status()).toBe(200);
  await page.reload();
  await expect(page.locator('[data-provider="anthropic"]')).toContainText('in the vault: blue');
  expect((await page.request.delete(path)).status()).toBe(204);
  await page.getByRole('searchbox', { name: 'Search' }).fill('no such provider');
  await expect(page.getByText('No provider matches.')).toBeVisible();
});

test('who is no administrator sees the providers and is offered no change', async ({ page, guarded }) => {
  const key = await page.request.post(`${guarded.url}/api/gateways/default/keys`, {
    headers: { authorization: `Bearer ${TOKEN}` },
    data: { name: 'looks', scopes: ['read'] },
  });
  const { value } = (await key.json()) as { value: string };
  await changeSession(page, guarded.url, { gateway_token: value });
  await page.goto(`${guarded.url}/providers`);
  await expect(page.locator('[data-provider="openai"]')).toBeVisible();
  await expect(page.getByText('added and changed by an administrator')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Add a provider' })).toHaveCount(0);
});

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [1280, 360]) {
    test(`page and form are accessible and fit: ${colorScheme}, ${width} px`, async ({ page }) => {
      await add(page, word());
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 860 });
      await page.goto('/providers');
      await expect(page.locator('[data-provider]').first()).toBeVisible();
      await expectFit(page);
      await page.getByRole('button', { name: 'Add a provider' }).click();
      await form(page).getByRole('button', { name: 'Add a header' }).click();
      await expectFit(page);
    });
  }
}

async function expectFit(page: Page): Promise<void> {
  await expectAccessible(page);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
}
