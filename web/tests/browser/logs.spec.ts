import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { APIRequestContext, Page } from '@playwright/test';
import WebSocket from 'ws';

import { asCurl, asJavaScript, asPython, type CopiedRequest } from '../../src/core/request-copy';
import { folderOfCopies, RUNNERS } from './copies';
import { expect, expectAccessible, test } from './fixtures';

const run = promisify(execFile);
const CHAT = '/v1/local/default/local/chat/completions';
const TRICKY = 'It\'s "quoted" \\ back\\nslash\nnew line $HOME ${PATH} `ls` $(ls) !! %s é 🦜 </script>';

const table = (page: Page) => page.getByRole('table', { name: 'Requests' });
const rows = (page: Page) => table(page).locator('tbody tr');
const drawer = (page: Page) => page.locator('section.drawer');

/** Have one exchange; the id of its row. */
async function chat(
  request: APIRequestContext,
  content: string,
  metadata = {},
  status = 200,
): Promise<string> {
  const answer = await request.post(CHAT, {
    headers: { 'cf-aig-metadata': JSON.stringify(metadata) },
    data: { model: 'local', messages: [{ role: 'user', content }], max_tokens: 2 },
  });
  expect(answer.status()).toBe(status);
  return answer.headers()['cf-aig-log-id'] ?? '';
}

async function settle(request: APIRequestContext, change: object): Promise<void> {
  expect((await request.patch('/api/gateways/default', { data: change })).ok()).toBe(true);
}

async function expectFit(page: Page): Promise<void> {
  await expectAccessible(page);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
}

/** Hold a recorded session of one turn; its id. */
async function talk(origin: string): Promise<string> {
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/v1/local/default/local/realtime?model=local`);
  const id = await new Promise<string>((resolve, reject) => {
    socket.on('error', reject);
    let found = '';
    socket.on('upgrade', ({ headers }) => (found = String(headers['cf-aig-log-id'] ?? '')));
    socket.on('open', () => {
      const content = [{ type: 'input_text', text: 'What is the capital of Italy?' }];
      const item = { type: 'message', role: 'user', content };
      socket.send(JSON.stringify({ type: 'conversation.item.create', item }));
      socket.send(JSON.stringify({ type: 'response.create' }));
    });
    socket.on('message', (message: Buffer) => {
      if (message.toString().includes('"response.done"')) resolve(found);
    });
  });
  socket.close();
  return id;
}

test('the list is empty, then live, filtered by a cell, paused, and walked through by keyboard', async ({
  page,
}) => {
  // Nobody has asked anything of these.
  await page.goto('/logs?q=metadata.team:nobody');
  await expect(page.getByRole('heading', { name: 'Nothing matches' })).toBeVisible();
  await expectFit(page);
  await page.getByRole('button', { name: 'Remove the filter metadata.team:nobody' }).click();
  await expect(page.locator('[data-line="live"]')).toBeVisible();

  const first = await chat(page.request, 'Hello', { team: 'red' });
  await expect(table(page).locator(`[data-row="${first}"]`)).toContainText('200');
  await page.getByRole('button', { name: 'Pause' }).click();
  const second = await chat(page.request, 'Hello', { team: 'blue' });
  await expect(page.getByText('Paused, 1 new')).toBeVisible();
  await expect(table(page).locator(`[data-row="${second}"]`)).toHaveCount(0);
  await page.getByRole('button', { name: 'Resume' }).click();
  await expect(rows(page).first()).toHaveAttribute('data-row', second);

  // Columns are part of the address.
  await page.getByText('Columns', { exact: true }).click();
  await page.getByRole('checkbox', { name: 'Metadata' }).check();
  await page.keyboard.press('Escape');
  await expect(page).toHaveURL(/columns=.*metadata/);
  await expect(rows(page).first()).toContainText('team=blue');

  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  await expect(rows(page).first().getByRole('button')).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(new RegExp(`/logs/${second}`));
  await expect(drawer(page).getByRole('heading', { level: 2 })).toBeFocused();
  await expectFit(page);
  await page.keyboard.press('j');
  await expect(page).toHaveURL(new RegExp(`/logs/${first}`));
  await page.keyboard.press('Escape');
  await expect(drawer(page)).toHaveCount(0);
  await expect(table(page).locator(`[data-row="${first}"]`).getByRole('button')).toBeFocused();

  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('f');
  await expect(page.getByRole('button', { name: 'Remove the filter kind:http' })).toBeVisible();
  await page.getByRole('searchbox').fill('metadata.team:red status:<400 total');
  await page.getByRole('searchbox').fill('metadata.team:red status:<400');
  await page.keyboard.press('Enter');
  await expect(rows(page)).toHaveCount(1);

  const download = page.waitForEvent('download');
  await page.getByText('Export', { exact: true }).click();
  await page.getByRole('link', { name: 'JSONL' }).click();
  const exported = readFileSync(await (await download).path(), 'utf8')
    .trim()
    .split('\n');
  expect(exported.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual([first]);
});

test('the stream goes on where it was after the gateway was away', async ({ page, expectedErrors }) => {
  expectedErrors.push(/ERR_FAILED|ERR_CONNECTION/);
  let isAway = false;
  await page.route('**/api/logs/tail*', (route) => (isAway ? route.abort() : route.continue()));
  await page.goto('/logs');
  await expect(page.locator('[data-line="live"]')).toBeVisible();
  isAway = true;
  // Another filter asks for another stream, and that one is not answered.
  await page.getByRole('searchbox').fill('provider:local');
  await page.keyboard.press('Enter');
  await expect(page.getByText('The gateway does not answer; trying again.')).toBeVisible();
  const missed = await chat(page.request, 'Hello');
  isAway = false;
  await expect(page.locator('[data-line="live"]')).toBeVisible({ timeout: 30_000 });
  await expect(table(page).locator(`[data-row="${missed}"]`)).toBeVisible();
});

test('a request shows its time, its bodies, its copies, and takes an opinion', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 404/);
  await settle(page.request, { logging: { payloads: false } });
  const unkept = await chat(page.request, 'secret');
  await settle(page.request, { logging: { payloads: true } });
  const kept = await chat(page.request, `${TRICKY} ${'x'.repeat(70_000)}`, {}, 400);

  await page.goto(`/logs/${kept}`);
  await expect(drawer(page)).toContainText('Waiting for the first byte');
  await drawer(page).getByText('What was said').click();
  const body = drawer(page).getByRole('region', { name: 'Request' });
  await expect(body).toContainText('back\\\\nslash');
  await expect(drawer(page).getByText('The first 64 KB are shown.')).toBeVisible();
  const download = page.waitForEvent('download');
  await drawer(page).getByRole('button', { name: 'Download' }).first().click();
  const whole = JSON.parse(readFileSync(await (await download).path(), 'utf8')) as {
    messages: { content: string }[];
  };
  expect(whole.messages[0]?.content).toContain(TRICKY);
  await expect(drawer(page).getByRole('link', { name: 'Replay in chat' })).toHaveAttribute(
    'href',
    `/chat?replay=${kept}`,
  );
  await drawer(page).getByRole('button', { name: 'Good' }).click();
  await drawer(page).getByLabel('Score, 0 to 100').fill('80');
  await drawer(page).getByLabel('Score, 0 to 100').press('Enter');
  await expect(drawer(page).getByRole('button', { name: 'Good' })).toHaveAttribute('aria-pressed', 'true');
  await expect
    .poll(async () => (await page.request.get(`/api/logs/${kept}`)).json())
    .toMatchObject({ feedback: 1, score: 80 });
  await expectFit(page);

  await page.setViewportSize({ width: 375, height: 860 });
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.goto(`/logs/${unkept}`);
  await drawer(page).getByText('What was said').click();
  await expect(drawer(page).getByText('trunkline gateways set default --log-payloads')).toBeVisible();
  await expectFit(page);
  await drawer(page)
    .getByRole('button', { name: /^Only requests with model:|local/ })
    .first()
    .click();
  await expect(page).toHaveURL(/q=/);
  await page.goto('/logs/01JUNKNOWN');
  await expect(drawer(page).getByRole('alert')).toContainText('There is no log row');
});

test('a recorded session shows its turns and its sound', async ({ page, gateway }) => {
  await settle(page.request, { logging: { payloads: true }, realtime: { record: true } });
  await talk(gateway.url);
  await page.goto('/logs?q=kind:realtime');
  await rows(page).first().getByRole('button').click();
  await expect(drawer(page)).toContainText('What is the capital of Italy?');
  await expect(drawer(page)).toContainText('First audio');
  await drawer(page).getByRole('button', { name: 'Load the recording' }).click();
  await expect(
    drawer(page).getByText(/of sound\. The user speaks for 0 ms, the assistant for \d/),
  ).toBeVisible();
  // What the drawing shows, and what the player can play.
  const isDrawn = await drawer(page)
    .locator('canvas')
    .evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas
        .getContext('2d')!
        .getImageData(0, canvas.height / 2, canvas.width, canvas.height / 2);
      return data.some((value) => value > 0);
    });
  expect(isDrawn).toBe(true);
  await expect
    .poll(() =>
      drawer(page)
        .locator('audio')
        .evaluate((audio: HTMLAudioElement) => audio.duration),
    )
    .toBeGreaterThan(0.5);
  await expectFit(page);
});

test('copies of a request do what it did, in a shell, in Python and in Node.js', async ({
  page,
  gateway,
}) => {
  test.slow();
  await settle(page.request, { logging: { payloads: true } });
  const folder = folderOfCopies();
  const programs = {
    sh: { of: asCurl, command: RUNNERS.sh },
    py: { of: asPython, command: RUNNERS.py },
    mjs: { of: asJavaScript, command: RUNNERS.mjs },
  };
  const messages = [{ role: 'user', content: TRICKY }];
  const key = { authorization: 'Bearer ${SOME_KEY}' };
  const requests: Record<string, CopiedRequest> = {
    stream: {
      method: 'POST',
      url: gateway.url + CHAT,
      headers: { 'cf-aig-metadata': '{"it\'s": "$HOME `ls`"}', ...key },
      body: { model: 'local', messages, max_tokens: 2, stream: true, stop: null, seed: 7 },
    },
    plain: {
      method: 'POST',
      url: `${gateway.url}/v1/local/default/local/audio/speech`,
      headers: key,
      body: { model: 'local', input: TRICKY, response_format: 'pcm', none: null, flag: true },
    },
  };
  try {
    for (const [kind, request] of Object.entries(requests)) {
      for (const [ending, { of, command }] of Object.entries(programs)) {
        const file = join(folder, `copied.${ending}`);
        writeFileSync(file, of(request));
        const mark = `${kind}-${ending}`;
        const started = Date.now() / 1000;
        // Sound is no text: what is printed of it may be anything, and Python says so.
        await run(command, [file], { cwd: folder, env: { ...process.env, SOME_KEY: mark } }).catch(
          (error: Error) => {
            if (kind === 'stream') throw error;
          },
        );
        const query = `/api/logs?since=${started}&limit=1`;
        const { logs } = (await (await page.request.get(query)).json()) as {
          logs: { id: string; status: number; metadata: object }[];
        };
        const [row] = logs;
        if (kind === 'stream') expect(row?.status, mark).toBe(200);
        const said = (await (await page.request.get(`/api/logs/${row?.id}/payload`)).json()) as {
          request: string;
        };
        expect(JSON.parse(said.request), mark).toEqual(request.body);
        if (kind === 'stream') expect(row?.metadata, mark).toEqual({ "it's": '$HOME `ls`' });
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
