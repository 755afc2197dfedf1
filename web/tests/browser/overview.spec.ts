import { execFileSync } from 'node:child_process';

import { expect, expectAccessible, test } from './fixtures';
import { start, type Program } from './program';

let fresh: Program;
test.beforeAll(async () => {
  fresh = await start(['serve', '--port', '0']);
});
test.afterAll(() => fresh.stop());

test('who begins is shown what to do, each step ticks itself, and the copied line works', async ({
  page,
}) => {
  const { url } = fresh;
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: url });
  await page.goto(url);
  const steps = page.getByRole('region', { name: 'First steps' });
  await expect(steps.getByText('0 of 5 done.')).toBeVisible();
  await expect(steps.getByRole('link', { name: 'Open chat' })).toHaveAttribute('href', '/chat');
  await expectAccessible(page);

  await page.getByRole('button', { name: 'Copy cURL' }).click();
  const line = await page.evaluate(() => navigator.clipboard.readText());
  const answer = JSON.parse(
    execFileSync('bash', ['-c', line], { stdio: ['ignore', 'pipe', 'ignore'] }).toString(),
  );
  expect((answer as { choices: unknown[] }).choices).toHaveLength(1);
  const headers = { origin: url, 'x-trunkline-console': '1' };
  const key = { headers, data: { name: 'a colleague' } };
  expect((await page.request.post(`${url}/api/gateways/default/keys`, key)).status()).toBe(201);
  const refused = { headers: { 'user-agent': 'test' }, data: { model: 'gpt-4o', messages: [] } };
  await page.request.post(`${url}/v1/local/default/openai/chat/completions`, refused);

  await page.reload();
  await expect(steps.getByText('3 of 5 done.')).toBeVisible();
  for (const name of ['answered', 'program', 'gateway_key']) {
    await expect(steps.locator(`[data-step=${name}]`)).toContainText('done:');
  }
  await expect(page.getByText('All is well.')).toBeVisible();
  const errors = page.getByRole('region', { name: 'Last errors' });
  await expect(errors.getByRole('link', { name: /^401/ })).toHaveAttribute('href', /^\/logs\/[0-9A-Z]{26}$/);
  await expect(page.getByRole('region', { name: 'Last 24 hours' })).toContainText('Requests 2');

  await steps.getByRole('link', { name: 'Add a key' }).click();
  const form = page.getByRole('dialog', { name: /provider key/i });
  await expect(form).toBeVisible();
  await expect(page).toHaveURL(`${url}/access`);
  await page.keyboard.press('Escape');
  await page.goBack();

  await steps.getByRole('button', { name: 'Hide the first steps' }).click();
  await page.reload();
  await expect(errors).toBeVisible();
  await expect(steps).toHaveCount(0);
});

test('what is wrong is said in words, part by part', async ({ page, expectedErrors }) => {
  expectedErrors.push(/status of 500/);
  await page.route('**/api/overview', (route) =>
    route.fulfill({
      json: { database: false, log: { waiting_bytes: 2048, held_up: true, lost: 2 }, steps: null },
    }),
  );
  await page.route('**/api/logs?*', (route) =>
    route.fulfill({
      status: 500,
      headers: { 'x-request-id': '01TESTREQUESTID00000000000' },
      json: { error: { message: 'It broke.', code: 'internal_error' } },
    }),
  );
  await page.goto(fresh.url);
  await expect(page.getByText('Something is wrong.')).toBeVisible();
  const health = page.getByRole('region', { name: 'Health' });
  await expect(health).toContainText('Does not answer. Requests go on');
  await expect(health).toContainText('2 exchanges could not be logged');
  const errors = page.getByRole('region', { name: 'Last errors' });
  await expect(errors.getByRole('alert')).toContainText('It broke.');
  await expect(errors).toContainText('01TESTREQUESTID00000000000'); // what whoever is asked for help looks for
  await page.unroute('**/api/logs?*');
  await errors.getByRole('button', { name: 'Retry' }).click();
  await expect(errors.getByRole('alert')).toHaveCount(0);
  await expectAccessible(page);
});
