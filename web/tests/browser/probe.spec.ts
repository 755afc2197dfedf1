import { execFile, spawn } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';

import type { Locator, Page } from '@playwright/test';

import { folderOfCopies, RUNNERS } from './copies';
import { expect, expectAccessible, KEY, test, TOKEN } from './fixtures';
import { changeSession, expectNoSecret } from './secrets';

/** The page itself is refused where that is what it asks. */
const REFUSALS = /status of 40[01]/;
const PROVIDER = { provider: 'openai', model: 'local', realtime_model: 'local' };
const COPIES = [
  { label: 'cURL', ending: 'sh' },
  { label: 'Python', ending: 'py' },
  { label: 'JavaScript', ending: 'mjs' },
] as const;
const CALLER = { gateway_token: TOKEN, use_authenticated_gateway: true };

test.beforeEach(({ expectedErrors }) => void expectedErrors.push(REFUSALS));

test('says what a run does and never does before the first one, and is two keys away', async ({ page }) => {
  await page.goto('/chat');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Chat');
  await page.keyboard.press('g');
  await page.keyboard.press('p');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Auth matrix');
  await expect(page.getByText('It sends no prompt, unless you allow it')).toBeVisible();
  await expect(page.getByLabel('Allow a billable request')).not.toBeChecked();
});

test('an open gateway takes a wrong key for its local provider, and the greens are said to mean nothing', async ({
  page,
}) => {
  await page.goto('/probe');
  await run(page);
  await expect(page.locator('[data-outcome="faults"]')).toContainText('The greens mean nothing');
  const server = grid(page, 'From the gateway’s machine');
  await expect(cell(server, 'control-wrong-provider-key', 'http')).toContainText('accepted');
  await expect(cell(server, 'control-wrong-provider-key', 'http')).toContainText('must be refused');
  await expectBrowserCells(page);
  await expectAccessible(page);
});

test('with token and key each credential has one result everywhere, and no secret is left anywhere', async ({
  page,
  guarded,
}) => {
  const sent: string[] = [];
  page.on('request', (request) => sent.push(`${request.url()} ${request.postData() ?? ''}`));
  await page.goto(`${guarded.url}/probe`);
  await changeSession(page, guarded.url, { ...PROVIDER, ...CALLER, provider_key: KEY });
  await page.reload();
  await run(page);
  await expect(page.locator('[data-outcome="faults"]')).toHaveCount(0);
  await expect(page.locator('[data-outcome="conclusion"]')).toContainText('same result everywhere');
  const server = grid(page, 'From the gateway’s machine');
  for (const way of ['http', 'sse', 'realtime']) {
    await expect(cell(server, 'cf-aig-bearer-and-provider-key', way)).toHaveText(/accepted/);
    await expect(cell(server, 'control-wrong-provider-key', way)).toHaveText(/refused[\s\S]*as it must be/);
  }
  await expectBrowserCells(page);
  sent.push('downloads');
  const markdown = await download(page, 'Markdown');
  const json = await download(page, 'JSON');
  const junit = await download(page, 'JUnit');
  const html = await download(page, 'HTML');
  const later = sent.slice(sent.indexOf('downloads') + 1);
  expect(later.filter((request) => !/\/api\/(config|session) $/.test(request))).toEqual([]);
  expect(markdown).toContain('# Auth matrix of');
  expect(JSON.parse(json)).toMatchObject({ complete: true, controls_hold: true });
  expect(junit).toContain('<testsuite');
  expect(html).toContain('<!doctype html>');
  await expectNoSecret(page, markdown, json, junit, html, sent.join(), guarded.output());
});

test('a gateway that wants its token runs nothing for a browser without one', async ({
  page,
  guarded,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 403/);
  await page.goto(`${guarded.url}/probe`);
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByRole('alert')).toContainText('The gateway refused this run');
  await expect(page.getByRole('alert')).toContainText('type its token');
});

test('cells are reached by arrow keys and opened by Enter, and closing leads back', async ({ page }) => {
  await page.goto('/probe');
  await run(page);
  const server = grid(page, 'From the gateway’s machine');
  await cell(server, 'nothing', 'http').getByRole('button').focus();
  await page.keyboard.press('End');
  await page.keyboard.press('ArrowLeft');
  await expect(cell(server, 'nothing', 'realtime').getByRole('button')).toBeFocused();
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowRight');
  const sse = cell(server, 'nothing', 'sse').getByRole('button');
  await expect(sse).toBeFocused();
  expect(await sse.evaluate((button) => getComputedStyle(button).outlineWidth)).toBe('3px');
  await page.keyboard.press('Enter');
  const detail = page.getByRole('dialog');
  await expect(detail.getByRole('heading', { level: 2 })).toContainText('accepted, over SSE');
  await expect(detail).toContainText('POST http://127.0.0.1');
  await expect(detail).toContainText('"messages": []');
  await expectAccessible(page);
  await page.keyboard.press('Escape');
  await expect(sse).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(grid(page, 'From this browser').getByRole('button').first()).toBeFocused();
});

test('copies of a cell, run with the keys, do what it did', async ({ page, guarded }) => {
  test.slow();
  const { url } = guarded;
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: url });
  await page.goto(`${url}/probe`);
  await changeSession(page, url, { ...PROVIDER, ...CALLER, provider_key: KEY });
  await page.reload();
  await run(page);
  const server = grid(page, 'From the gateway’s machine');
  const detail = page.getByRole('dialog');
  const keys = { GATEWAY_KEY: TOKEN, PROVIDER_KEY: KEY };
  const folder = folderOfCopies();
  try {
    await cell(server, 'cf-aig-bearer-and-provider-key', 'http').getByRole('button').click();
    await expect(detail).toContainText(/HTTP status\s*200/);
    await expect(detail).toContainText('GATEWAY_KEY, PROVIDER_KEY');
    await detail.getByText('Copy request as').click();
    await expectAccessible(page);
    for (const { label, ending } of COPIES) {
      const file = join(folder, `copied.${ending}`);
      await writeFile(file, await copied(page, label));
      const ran = async (environment: object): Promise<unknown> => {
        const env = { ...process.env, ...environment };
        return JSON.parse((await promisify(execFile)(RUNNERS[ending], [file], { cwd: folder, env })).stdout);
      };
      expect(await ran(keys), label).toMatchObject({ object: 'list' });
      for (const name of Object.keys(keys)) {
        const refusal = await ran({ ...keys, [name]: 'sk-wrong' });
        expect(refusal, `${label} with another ${name}`).not.toMatchObject({ object: 'list' });
      }
    }
    await page.keyboard.press('Escape');

    await cell(server, 'protocol-cf-aig-and-provider-key', 'realtime-browser').getByRole('button').click();
    await expect(detail).toContainText('session.created');
    await detail.getByText('Copy request as').click();
    // As on a page that was opened over plain http from another machine.
    await page.evaluate(() => {
      navigator.clipboard.writeText = () => Promise.reject(new Error('not here'));
    });
    expect(await copied(page, 'cURL')).toContain('openai-insecure-api-key.${PROVIDER_KEY}');
    for (const { label, ending } of COPIES.slice(1)) {
      const file = join(folder, `copied.${ending}`);
      await writeFile(file, await copied(page, label));
      const child = spawn(RUNNERS[ending], [file], {
        cwd: folder,
        env: { ...process.env, ...keys },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let frame = '';
      for await (const line of createInterface(child.stdout)) {
        frame = line;
        child.kill();
        break;
      }
      expect(JSON.parse(frame), label).toMatchObject({ type: 'session.created' });
    }
    await expectNoSecret(page);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('an address is shown the keys typed for it, and none that the gateway keeps', async ({
  page,
  gateway,
  upstream,
}) => {
  const asked: unknown[] = [];
  const sent: string[] = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/api/probe')) asked.push(request.postDataJSON());
    else sent.push(request.url(), request.postData() ?? '');
  });
  await changeSession(page, gateway.url, { ...PROVIDER, provider_key: 'sk-kept-0123456789' });
  await page.goto('/probe');
  await page.getByLabel('Target').selectOption('An address');
  await page.getByLabel('Address').fill(`${upstream.url}/v1`);
  await page.getByLabel('Provider key').fill(KEY);
  await page.getByLabel('Allow a billable request').check();
  await run(page);
  expect(asked).toMatchObject([{ provider_key: KEY, use_session_keys: false, allow_billable: true }]);
  const server = grid(page, 'From the gateway’s machine');
  await expect(cell(server, 'authorization-provider-key', 'http')).toHaveText(/accepted/);
  await expect(page.getByText("connect-src 'self'")).toBeVisible();
  await expectAccessible(page);
  await page.getByLabel('Target').selectOption('This gateway');
  await expectNoSecret(page, sent.join());
});

test('a key typed for a run does what a kept one does', async ({ page }) => {
  await page.goto('/probe');
  await page.getByLabel('Provider', { exact: true }).selectOption('openai');
  await page.getByLabel('Keys').selectOption('Typed here');
  await page.getByLabel('Provider key').fill(KEY);
  await run(page);
  const server = grid(page, 'From the gateway’s machine');
  await expect(cell(server, 'authorization-provider-key', 'realtime')).toHaveText(/accepted/);
  await expect(cell(server, 'protocol-provider-key', 'realtime-browser')).toHaveText(/accepted/);
});

test('without a key it asks what needs none, and says which to give', async ({ page, gateway }) => {
  await changeSession(page, gateway.url, PROVIDER);
  await page.goto('/probe');
  await expect(page.getByText('There is no key for OpenAI here.')).toBeVisible();
  await run(page);
  const server = grid(page, 'From the gateway’s machine');
  await expect(cell(server, 'authorization-provider-key', 'http')).toHaveText(/skipped/);
  await expect(cell(server, 'control-wrong-provider-key', 'http')).toHaveText(/refused/);
  await expect(page.getByText('The gateway gave this page no client secret')).toBeVisible();
  await expect(page.getByText('The gateway has no key for OpenAI')).toBeVisible();
});

for (const [address, rule] of [
  ['http://10.0.0.1/v1', 'private'],
  ['http://169.254.169.254/v1', 'metadata'],
] as const) {
  test(`${address} is refused, and the rule named`, async ({ page, expectedErrors }) => {
    expectedErrors.push(/status of 403/);
    await page.goto('/probe');
    await page.getByLabel('Target').selectOption('An address');
    await page.getByLabel('Address').fill(address);
    await page.getByRole('button', { name: 'Run' }).click();
    await expect(page.getByRole('alert')).toContainText(`the rule '${rule}' refuses its address`);
  });
}

test('an address that is none is refused before anything is asked', async ({ page }) => {
  await page.goto('/probe');
  await page.getByLabel('Target').selectOption('An address');
  await page.getByLabel('Address').fill('ftp://example.com/');
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByRole('alert')).toContainText('This cannot be probed');
});

test('a cancelled run keeps what was done, and ends on the server', async ({ page }) => {
  const target = await halfSilent();
  await page.goto('/probe');
  await page.getByLabel('Target').selectOption('An address');
  await page.getByLabel('Address').fill(`${target.url}/v1`);
  await page.getByLabel('Provider', { exact: true }).selectOption('openai');
  await page.getByRole('button', { name: 'Run' }).click();
  const server = grid(page, 'From the gateway’s machine');
  await expect(cell(server, 'nothing', 'http')).toHaveText(/refused/);
  const progress = page.getByRole('progressbar', { name: 'Cells asked' });
  await expect(progress).toHaveAttribute('value', /^[1-9]/);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.locator('[data-phase="cancelled"]').first()).toBeVisible();
  await expect(page.getByText(/Cancelled after \d+ of \d+ cells/)).toBeVisible();
  await expect(cell(server, 'nothing', 'http')).toHaveText(/refused/);
  await expect(page.locator('[data-outcome]')).toHaveCount(0);
  await expect.poll(() => target.held, { message: 'the gateway asks no longer' }).toBe(0);
  await expectAccessible(page);
  target.server.close();
});

test('a connection that breaks keeps what has come, and a gateway that is away is named', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/ERR_FAILED/);
  const lines = [PLAN, { ...CELL, way: 'http' }].map((line) => JSON.stringify(line)).join('\n');
  await page.route('**/api/probe', (route) => route.fulfill({ body: lines }));
  await page.goto('/probe');
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByText(/The connection broke after 1 of \d+ cells/)).toBeVisible();
  await page.unroute('**/api/probe');
  await page.route('**/api/probe', (route) => route.abort());
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.getByRole('alert')).toContainText('The gateway does not answer');
});

test('a differing cell is marked, and its explanation is read beside the conclusion', async ({ page }) => {
  const report = {
    type: 'report',
    controls_hold: true,
    control_faults: [],
    same_everywhere: false,
    conclusion: '',
    explanations: ['Over WS it was refused.'],
    left_out: [],
    differing: [{ row: 'nothing', way: 'sse' }],
    reports: { markdown: '', json: '', junit: '', html: '' },
  };
  const cells = ['http', 'sse'].map((way) => ({
    ...CELL,
    way,
    verdict: way === 'http' ? 'accepted' : 'refused',
  }));
  const lines = [PLAN, ...cells, report].map((line) => JSON.stringify(line)).join('\n');
  await page.route('**/api/probe', (route) => route.fulfill({ body: lines }));
  await page.goto('/probe');
  await run(page);
  await expect(page.locator('[data-outcome="conclusion"]')).toContainText('Over WS it was refused.');
  const server = grid(page, 'From the gateway’s machine');
  await expect(cell(server, 'nothing', 'sse')).toHaveText(/differs/);
  await expect(cell(server, 'nothing', 'http')).not.toHaveText(/differs/);
  await expectAccessible(page);
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`results are usable on a telephone, in German, from right to left: ${colorScheme}`, async ({
    page,
  }) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width: 375, height: 800 });
    await page.goto('/settings');
    await page.getByLabel('Language').selectOption('de');
    await page.goto('/probe');
    await page.getByRole('button', { name: 'Starten' }).click();
    await expect(page.locator('.page')).toHaveAttribute('data-phase', 'done');
    await expect(page.getByRole('heading', { name: 'Von diesem Browser' })).toBeVisible();
    await expectAccessible(page);
    for (const direction of ['ltr', 'rtl']) {
      await page.evaluate((dir) => (document.documentElement.dir = dir), direction);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(overflow, direction).toBeLessThanOrEqual(0);
      const clipped = await page
        .getByRole('grid')
        .getByRole('button')
        .evaluateAll((buttons) => buttons.filter((one) => one.scrollWidth > one.clientWidth).length);
      expect(clipped, direction).toBe(0);
    }
  });
}

const PLAN = {
  type: 'plan',
  target: 'http://127.0.0.1',
  provider: 'local',
  rows: [{ name: 'nothing', shows: 'no key', label: 'no key', client: 'a client', control: false }],
  columns: [
    { way: 'http', title: 'HTTP' },
    { way: 'sse', title: 'SSE' },
  ],
  cells: 2,
};
const CELL = {
  type: 'cell',
  row: 'nothing',
  verdict: 'accepted',
  milliseconds: 1,
  status: 200,
  close_code: null,
  first_frame: '',
  request: 'GET /',
  why: 'answered 200',
};

function grid(page: Page, name: string): Locator {
  return page.getByRole('grid', { name });
}

function cell(of: Locator, row: string, way: string): Locator {
  return of.locator(`[data-row="${row}"] [data-way="${way}"]`);
}

/** What the open dialog copies, which is not what was copied before. */
async function copied(page: Page, label: string): Promise<string> {
  const read = () => page.evaluate(() => navigator.clipboard.readText());
  const before = await read();
  await page.getByRole('dialog').getByRole('button', { name: label, exact: true }).click();
  await expect.poll(read).not.toBe(before);
  return read();
}

async function run(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.locator('.page')).toHaveAttribute('data-phase', 'done');
}

/** What the page asks itself comes out the same wherever it is given a secret. */
async function expectBrowserCells(page: Page): Promise<void> {
  const browser = grid(page, 'From this browser');
  for (const way of ['http', 'sse', 'realtime-browser']) {
    await expect(cell(browser, 'client-secret', way)).toHaveText(/accepted/);
    await expect(cell(browser, 'unknown-secret', way)).toHaveText(/refused[\s\S]*as it must be/);
  }
}

async function download(page: Page, name: string): Promise<string> {
  const saved = page.waitForEvent('download');
  await page.getByRole('button', { name, exact: true }).click();
  return readFile(await (await saved).path(), 'utf8');
}

/** A server that refuses what is got, and holds what is posted or upgraded without a word. */
async function halfSilent(): Promise<{ server: Server; url: string; readonly held: number }> {
  let held = 0;
  const hold = (socket: Duplex): void => {
    held += 1;
    socket.once('close', () => (held -= 1));
    socket.once('end', () => socket.destroy());
    socket.resume();
  };
  const server = createServer((request, response) => {
    if (request.method === 'POST') return hold(request.socket);
    response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":{"message":"No."}}');
  });
  server.on('upgrade', (_request, socket) => hold(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    server,
    url: `http://127.0.0.1:${port}`,
    get held() {
      return held;
    },
  };
}
