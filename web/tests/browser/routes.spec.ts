import { readFileSync } from 'node:fs';

import type { Page } from '@playwright/test';

import { expect, expectAccessible, test, TOKEN } from './fixtures';
import { changeSession } from './secrets';

const FALLING_BACK = [
  { id: 'in', type: 'start', outputs: { next: { elementId: 'plan' } } },
  {
    id: 'plan',
    type: 'conditional',
    properties: { conditions: { 'metadata.plan': { $eq: 'paid' } } },
    outputs: { true: { elementId: 'best' }, false: { elementId: 'small' } },
  },
  {
    id: 'best',
    type: 'model',
    properties: { provider: 'openai', model: 'gpt-best', timeout: 2000, retries: 1 },
    outputs: { success: { elementId: 'out' }, fallback: { elementId: 'small' } },
  },
  {
    id: 'small',
    type: 'model',
    properties: { provider: 'local', model: 'local' },
    outputs: { success: { elementId: 'out' } },
  },
  { id: 'out', type: 'end', outputs: {} },
];

/** Each test has a route of its own among those of the others. */
function word(): string {
  return `route-${Math.random().toString(36).slice(2, 10)}`;
}

const editor = (page: Page) => page.getByRole('textbox', { name: 'Elements', exact: true });
const save = (page: Page) => page.getByRole('button', { name: 'Save and deploy' });
const status = (page: Page, text: string) => page.getByRole('status').filter({ hasText: text });

async function deployed(page: Page, name: string): Promise<{ version: string; elements: unknown[] }> {
  const answer = await page.request.get(`/api/gateways/default/routes/${name}`);
  expect(answer.status()).toBe(200);
  return (await answer.json()) as { version: string; elements: unknown[] };
}

async function make(page: Page, name: string, elements: unknown = FALLING_BACK): Promise<void> {
  const answer = await page.request.put(`/api/gateways/default/routes/${name}`, { data: { elements } });
  expect(answer.status()).toBe(200);
}

test('a route is written, saved, and says why a simulated request took the fallback', async ({ page }) => {
  const name = word();
  await page.goto('/routes');
  await page.getByRole('button', { name: 'New route' }).click();
  await save(page).click();
  await expect(page.getByText('Letters, digits, dots, dashes')).toBeVisible();
  await page.getByLabel('Name', { exact: true }).fill(name);
  await editor(page).fill(JSON.stringify(FALLING_BACK));
  await save(page).click();
  await expect(status(page, 'Version 1 is deployed.')).toBeAttached();
  expect((await deployed(page, name)).elements).toEqual(FALLING_BACK);
  const list = page.getByRole('list', { name: 'Elements', exact: true });
  await expect(list).toContainText('Is it true that metadata.plan is "paid"?');
  await expect(list).toContainText('Asks openai/gpt-best. Its answer begins within 2 s. Retries: 1.');

  await page.getByLabel('Name of metadata 1').fill('plan');
  await page.getByLabel('Value of metadata 1').fill('paid');
  await page.getByLabel(/^best /).selectOption('fails');
  await page.getByRole('button', { name: 'Simulate' }).click();
  await expect(page.getByText('local/local answers, after 1 that did not.').last()).toBeVisible();
  const steps = page.getByRole('list', { name: 'The way it took' }).getByRole('listitem');
  await expect(steps).toHaveCount(5);
  await expect(steps.nth(1)).toContainText('metadata.plan is "paid"');
  await expect(steps.nth(1)).toContainText('Takes “true” to best.');
  await expect(steps.nth(2)).toContainText('Because: fails in this simulation.');
  await expect(steps.nth(2)).toContainText('Takes “fallback” to small.');
  await expectAccessible(page);

  await page.getByLabel(/^best /).selectOption('answers');
  await page.getByRole('button', { name: 'Simulate' }).click();
  await expect(page.getByText('openai/gpt-best answers, as the first').last()).toBeVisible();
});

test('what is not saved is simulated too, and shares go by the chance that is set', async ({ page }) => {
  const name = word();
  await make(page, name);
  await page.goto(`/routes?route=${name}`);
  await expect(editor(page)).toHaveValue(/gpt-best/);
  const shares = [
    { id: 'in', type: 'start', outputs: { next: { elementId: 'split' } } },
    { id: 'split', type: 'percentage', outputs: { '10%': { elementId: 'a' }, '90%': { elementId: 'b' } } },
    ...['a', 'b'].map((id) => ({
      id,
      type: 'model',
      properties: { provider: 'local', model: `model-${id}` },
      outputs: { success: { elementId: 'out' } },
    })),
    { id: 'out', type: 'end', outputs: {} },
  ];
  await editor(page).fill(JSON.stringify(shares));
  await page.getByLabel('Random').uncheck();
  for (const [percent, model] of [
    ['5', 'model-a'],
    ['60', 'model-b'],
  ] as const) {
    await page.getByRole('slider', { name: 'Chance' }).fill(percent);
    await page.getByRole('button', { name: 'Simulate' }).click();
    await expect(page.getByText(`local/${model} answers`).last()).toBeVisible();
  }
  expect((await deployed(page, name)).elements).toEqual(FALLING_BACK);
});

test('what is wrong with a text is said beside it, by the page or by the gateway', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 400/);
  const name = word();
  await make(page, name);
  await page.goto(`/routes?route=${name}`);
  await expect(editor(page)).toHaveValue(/gpt-best/);
  await editor(page).fill('[{');
  await expect(page.getByText('This is no JSON:')).toBeVisible();
  await expect(save(page)).toBeDisabled();
  await editor(page).fill(JSON.stringify(FALLING_BACK).replace('"elementId":"plan"', '"elementId":"gone"'));
  await expect(page.getByText('to gone, which is not there')).toBeVisible();
  await save(page).click();
  await expect(page.getByText("'in' leads to 'gone', which is not there.")).toBeVisible();
  await expect(editor(page)).toHaveAttribute('aria-invalid', 'true');
  expect((await deployed(page, name)).elements).toEqual(FALLING_BACK);
  await page.getByRole('button', { name: 'Undo the changes' }).click();
  await expect(editor(page)).toHaveValue(/"elementId": "plan"/);
});

test('an older version is looked at and put into use again', async ({ page }) => {
  const name = word();
  await make(page, name);
  const first = await deployed(page, name);
  await make(page, name, JSON.parse(JSON.stringify(FALLING_BACK).replace('gpt-best', 'gpt-better')));
  await page.goto('/routes');
  const row = page.locator(`[data-route="${name}"]`);
  await expect(row).toContainText('Version 2 of 2');
  await row.getByRole('button').click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(name);
  await expect(editor(page)).toHaveValue(/gpt-better/);
  await page.getByRole('button', { name: 'Show version 1 in the editor' }).click();
  await expect(editor(page)).toHaveValue(/gpt-best/);
  await page.getByRole('button', { name: 'Deploy version 1' }).click();
  await expect(page.locator('[data-version="1"]')).toContainText('deployed');
  expect(await deployed(page, name)).toMatchObject({ version: first.version });
  await page.getByRole('button', { name: 'All routes' }).click();
  await expect(row).toContainText('Version 1 of 2');
  await expect(page.getByRole('heading', { level: 1 })).toBeFocused();
});

test('a route is exported, deleted and imported again', async ({ page, expectedErrors }) => {
  expectedErrors.push(/status of 404/);
  const name = word();
  await make(page, name);
  await page.goto(`/routes?route=${name}`);
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export' }).click();
  const path = await (await download).path();
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ name, elements: FALLING_BACK });

  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await expectAccessible(page);
  await page.getByRole('dialog').getByRole('button', { name: 'Delete the route' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Routes');
  await expect(page.locator(`[data-route="${name}"]`)).toHaveCount(0);
  expect((await page.request.get(`/api/gateways/default/routes/${name}`)).status()).toBe(404);

  const file = (content: string) => ({
    name: 'exported.json',
    mimeType: 'application/json',
    buffer: Buffer.from(content),
  });
  await page.locator('input[type=file]').setInputFiles(file('{"name": "x"}'));
  await expect(page.getByRole('alert')).toContainText('The file exported.json holds no route');
  await page.locator('input[type=file]').setInputFiles(file(readFileSync(path, 'utf8')));
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue(name);
  await save(page).click();
  await expect(status(page, 'Version 1 is deployed.')).toBeAttached();
  expect((await deployed(page, name)).elements).toEqual(FALLING_BACK);
});

test('who may only look sees a route and simulates it, and is offered no change', async ({
  page,
  guarded,
}) => {
  const name = word();
  const authorization = `Bearer ${TOKEN}`;
  const made = await page.request.put(`${guarded.url}/api/gateways/default/routes/${name}`, {
    headers: { authorization },
    data: { elements: FALLING_BACK },
  });
  expect(made.status()).toBe(200);
  const key = await page.request.post(`${guarded.url}/api/gateways/default/keys`, {
    headers: { authorization },
    data: { name: 'looks', scopes: ['read'] },
  });
  const { value } = (await key.json()) as { value: string };
  await changeSession(page, guarded.url, { gateway_token: value });
  await page.goto(`${guarded.url}/routes?route=${name}`);
  await expect(editor(page)).toHaveValue(/gpt-best/);
  for (const button of ['Save and deploy', 'Delete', 'Deploy version 1']) {
    await expect(page.getByRole('button', { name: button, exact: true })).toHaveCount(0);
  }
  await page.getByRole('button', { name: 'Simulate' }).click();
  await expect(page.getByText('local/local answers').last()).toBeVisible();
  await page.getByRole('button', { name: 'All routes' }).click();
  await expect(page.getByText('Changing one takes the role of an editor.')).toBeVisible();
  await expect(page.getByRole('button', { name: 'New route' })).toHaveCount(0);
});

test('a browser without the token is told what to do', async ({ page, guarded, expectedErrors }) => {
  expectedErrors.push(/401/);
  await page.goto(`${guarded.url}/routes`);
  await expect(page.getByText('does not show its routes to this browser')).toBeVisible();
  await expect(page.getByRole('main').getByRole('link', { name: 'Open settings' }).first()).toBeVisible();
});

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [1280, 360]) {
    test(`both views are accessible and fit: ${colorScheme}, ${width} px`, async ({ page }) => {
      const name = word();
      await make(page, name);
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 860 });
      await page.goto('/routes');
      await expect(page.locator(`[data-route="${name}"]`)).toBeVisible();
      await expectFit(page);
      await page.locator(`[data-route="${name}"]`).getByRole('button').click();
      await expect(editor(page)).toHaveValue(/gpt-best/);
      await page.getByRole('button', { name: 'Simulate' }).click();
      await expect(page.getByRole('list', { name: 'The way it took' })).toBeVisible();
      await expectFit(page);
    });
  }
}

async function expectFit(page: Page): Promise<void> {
  await expectAccessible(page);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
}
