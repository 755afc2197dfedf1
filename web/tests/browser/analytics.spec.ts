import { readFileSync } from 'node:fs';

import type { Page } from '@playwright/test';

import { expect, expectAccessible, test } from './fixtures';

interface Sent {
  /** The id of the key that the requests came with: what other tests do is not counted. */
  readonly key: string;
  /** What the first answer took; those from the cache take nothing. */
  readonly tokens: number;
  readonly cost: number;
}

/** Requests through a gateway: one that is answered, then the same from the cache, then some that the provider refuses. */
async function send(page: Page, again: number, refused: number): Promise<Sent> {
  const made = await page.request.post('/api/gateways/default/keys', {
    data: { name: `charts of ${again}`, scopes: ['run'] },
  });
  const { id, value } = (await made.json()) as { id: string; value: string };
  const headers = {
    'cf-aig-authorization': `Bearer ${value}`,
    'cf-aig-custom-cost': '{"per_token_in":0.5,"per_token_out":0.25}',
    'cf-aig-metadata': `{"run":"${id}"}`,
  };
  let first: { prompt_tokens: number; completion_tokens: number } | undefined;
  for (let number = 0; number <= again; number++) {
    const answer = await page.request.post('/v1/local/default/local/chat/completions', {
      headers: { ...headers, 'cf-aig-cache-key': id },
      data: { model: 'local', max_tokens: 2, messages: [{ role: 'user', content: `Say ${id}` }] },
    });
    expect(answer.status()).toBe(200);
    first ??= ((await answer.json()) as { usage: typeof first }).usage;
  }
  for (let number = 0; number < refused; number++) {
    const answer = await page.request.post('/v1/local/default/openai/chat/completions', {
      headers: { ...headers, authorization: 'Bearer sk-wrong' },
      data: { model: 'local', messages: [{ role: 'user', content: 'Hi' }] },
    });
    expect(answer.status()).toBe(401);
  }
  const asked = `/api/analytics/summary?key=${id}&measure=requests`;
  const counted = async (): Promise<unknown> =>
    ((await (await page.request.get(asked)).json()) as { now: { total: unknown } }).now.total;
  await expect.poll(counted).toEqual({ requests: again + 1 + refused });
  const { prompt_tokens, completion_tokens } = first!;
  const cost = 0.5 * prompt_tokens + 0.25 * completion_tokens;
  return { key: id, tokens: prompt_tokens + completion_tokens, cost };
}

const card = (page: Page, name: string) => page.locator(`[data-card="${name}"]`);
const chart = (page: Page, name: string) => page.locator(`[data-chart="${name}"]`);
const slider = (page: Page, name: string) => chart(page, name).getByRole('slider');
const asked = (page: Page, name: string): string | null => new URL(page.url()).searchParams.get(name);

async function open(page: Page, query: string): Promise<void> {
  await page.goto(`/analytics?range=1h&${query}`);
  await expect(chart(page, 'requests').locator('canvas')).toBeVisible();
}

test('numbers, table and file are those of what was sent, and lead to filters and logs', async ({ page }) => {
  const { key, tokens, cost } = await send(page, 20, 2);
  await open(page, `q=key:${key}`);
  await expect(card(page, 'requests')).toContainText('23');
  await expect(card(page, 'error_rate')).toContainText('8.7%');
  await expect(card(page, 'error_rate')).toContainText('2 failed');
  await expect(card(page, 'tokens')).toContainText(tokens.toLocaleString('en'));
  await expect(card(page, 'cost')).toContainText(`$${cost.toFixed(2)}`);
  await expect(card(page, 'cache_rate')).toContainText('20 from the cache');
  await expect(card(page, 'duration')).not.toContainText('No p99');
  await expect(chart(page, 'requests').getByRole('list')).toContainText('Requests 23');
  await expect(chart(page, 'requests').getByRole('list')).toContainText('Errors 2');
  await expectAccessible(page);

  await chart(page, 'requests').getByText('View as table').click();
  const rows = chart(page, 'requests').getByRole('row');
  await expect(rows).not.toHaveCount(0);
  const cells = await rows.locator('td:nth-child(2)').allTextContents();
  expect(cells.reduce((sum, cell) => sum + Number(cell), 0)).toBe(23);
  const download = page.waitForEvent('download');
  await chart(page, 'requests').getByRole('button', { name: /CSV/ }).click();
  const lines = readFileSync(await (await download).path(), 'utf8')
    .trim()
    .split(/\r?\n/);
  expect(lines[0]).toBe('start,requests,errors');
  expect(lines.slice(1).reduce((sum, line) => sum + Number(line.split(',')[1]), 0)).toBe(23);

  const logs = page.getByRole('link', { name: 'Show the logs of errors with status 401' });
  const address = new URL((await logs.getAttribute('href')) ?? '', page.url());
  expect([address.pathname, address.searchParams.get('q')]).toEqual([
    '/logs',
    `key:${key} success:false status:401`,
  ]);

  await page.getByLabel('By', { exact: true }).selectOption('Provider');
  await page.getByRole('button', { name: /^Filter by openai 2/ }).press('Enter');
  await expect(card(page, 'requests')).toContainText('2');
  expect(asked(page, 'q')).toBe(`key:${key} provider:openai`);
  await expect(card(page, 'error_rate')).toContainText('100%');
  await expect(card(page, 'duration')).toContainText('No p99: that takes 20 requests, and there are 2.');

  await page.goBack();
  await expect(card(page, 'requests')).toContainText('23');
  await page.getByLabel('By', { exact: true }).selectOption('Key');
  await expect(page.getByRole('button', { name: /^Filter by charts of 20 23/ })).toBeVisible();
  await page.getByLabel('By', { exact: true }).selectOption('Metadata');
  await page.getByLabel('Key of the metadata').fill('run');
  await page.getByLabel('Key of the metadata').press('Enter');
  await expect(page.getByText(`This does not go with key:${key}`)).toBeVisible();
  await expect(page.getByRole('button', { name: new RegExp(`^Filter by ${key} 23`) })).toBeVisible();
});

test('a time is chosen by mouse, by keyboard and in two fields, and a point leads to its logs', async ({
  page,
}) => {
  const { key } = await send(page, 0, 0);
  const query = `q=key:${key}`;
  await open(page, query);
  const over = chart(page, 'requests').locator('.u-over');
  const box = (await over.boundingBox())!;
  await page.mouse.move(box.x + box.width * 0.25, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.75, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await expect.poll(() => asked(page, 'since')).not.toBeNull();
  const [since, until] = [Number(asked(page, 'since')), Number(asked(page, 'until'))];
  expect([since % 60, until % 60]).toEqual([0, 0]);
  expect((until - since) / 60).toBeGreaterThanOrEqual(29);
  expect((until - since) / 60).toBeLessThanOrEqual(34);
  expect(asked(page, 'q')).toBe(`key:${key}`);
  await page.goBack();
  expect(asked(page, 'range')).toBe('1h');
  await expect(card(page, 'requests')).toContainText('1');

  await slider(page, 'tokens').focus();
  await page.keyboard.press('ArrowLeft');
  await expect(slider(page, 'tokens')).toHaveAttribute('aria-valuetext', /In \d+, Out \d+/);
  const ofPoint = chart(page, 'tokens').getByRole('link', { name: 'Logs of this point' });
  await expect(ofPoint).toBeVisible();
  // It stays when the mouse leaves a chart, which all of them learn.
  const beside = (await over.boundingBox())!;
  await page.mouse.move(beside.x + beside.width * 0.75, beside.y + 60);
  await page.mouse.move(beside.x - 5, beside.y - 5);
  await expect(chart(page, 'requests').locator('.when')).toHaveText('All');
  await expect(ofPoint).toBeVisible();
  await page.keyboard.press('Shift+ArrowLeft');
  await page.keyboard.press('Shift+ArrowLeft');
  await expect(chart(page, 'tokens').locator('.u-select')).not.toHaveCSS('width', '0px');
  await page.keyboard.press('Enter');
  await expect.poll(() => Number(asked(page, 'until')) - Number(asked(page, 'since'))).toBe(180);

  await page.getByText('Exact times').press('Enter');
  await expect(page.getByLabel('From', { exact: true })).toHaveValue(/^20\d\d-/);
  await page.getByLabel('From', { exact: true }).fill('2026-01-02T03:04');
  await page.getByLabel('To', { exact: true }).fill('2026-01-02T03:04');
  await page.getByLabel('To', { exact: true }).press('Enter');
  await expect(page.getByText('This must be after the beginning.')).toBeVisible();
  await page.getByLabel('To', { exact: true }).fill('2026-01-02T04:04');
  await page.getByLabel('To', { exact: true }).press('Enter');
  await expect.poll(() => Number(asked(page, 'until')) - Number(asked(page, 'since'))).toBe(3_600);

  await open(page, query);
  await chart(page, 'requests')
    .locator('.u-over')
    .click({ position: { x: 40, y: 30 } });
  await expect.poll(() => new URL(page.url()).pathname).toBe('/logs');
  expect(Number(asked(page, 'until')) - Number(asked(page, 'since'))).toBe(60);
  expect(asked(page, 'q')).toBe(`key:${key}`);
});

test('it says what it leaves out, what to do where there is nothing, and what fails', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/ERR_FAILED/, /status of 40/);
  const { key } = await send(page, 0, 0);
  await open(page, `q=key:${key}+status:>=200+tokens:>=0+kind:chat`);
  await expect(page.getByText('The charts leave out tokens:>=0, kind:chat')).toBeVisible();
  await expect(card(page, 'requests')).toContainText('1');

  await page.route('**/api/analytics/**', (route) => route.abort());
  // The same question again; the clock of the page goes half a minute ahead.
  await page.evaluate(() => {
    const now = Date.now() + 60_000;
    Date.now = () => now;
    document.dispatchEvent(new Event('visibilitychange'));
  });
  const stale = page.getByRole('status').filter({ hasText: 'may be out of date' }).first();
  await expect(stale).toBeVisible();
  await expect(card(page, 'requests')).toContainText('1');
  // Another question that fails leaves no numbers of the last one.
  await page.getByLabel('Time', { exact: true }).selectOption('6h');
  await expect(page.getByRole('alert').filter({ hasText: 'That failed.' })).toBeVisible();
  await expect(card(page, 'requests')).toHaveCount(0);
  await expectAccessible(page);
  await page.unroute('**/api/analytics/**');
  await page.getByRole('button', { name: 'Retry' }).click();
  await expect(card(page, 'requests')).toContainText('1');

  await page.goto('/analytics?q=model:nobody-has-this');
  await expect(page.getByRole('heading', { name: 'No requests in this time' })).toBeVisible();
  await expect(page.locator('pre')).toContainText('curl -N');
  await expect(page.locator('pre')).toContainText('/v1/local/default/local/chat/completions');
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Remove the filters' }).click();
  await expect(card(page, 'requests')).toBeVisible();
  expect(asked(page, 'q')).toBeNull();
});

test('it fits and is accessible in each theme, and draws again when the theme changes', async ({ page }) => {
  const { key } = await send(page, 0, 1);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 375, height: 860 });
  await open(page, `q=key:${key}`);
  const picture = () =>
    chart(page, 'requests')
      .locator('canvas')
      .evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
  const light = await picture();
  for (const look of [{ colorScheme: 'dark' }, { forcedColors: 'active', colorScheme: 'light' }] as const) {
    await page.emulateMedia(look);
    await expect.poll(picture).not.toBe(light);
    await expectAccessible(page);
  }
  await chart(page, 'requests').getByText('View as table').click();
  await page.evaluate(() => document.documentElement.style.setProperty('font-size', '200%'));
  const overflow = () => page.locator('.page').evaluate((whole) => whole.scrollWidth - whole.clientWidth);
  // A chart learns of its new width a moment later.
  await expect.poll(overflow).toBeLessThanOrEqual(0);
});
