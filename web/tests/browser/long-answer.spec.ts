/** A very long answer on a slow machine: the page stays smooth, and keeps no more than the answer itself. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

import type { CDPSession, Page } from '@playwright/test';

import { expect, KEY, test as base } from './fixtures';
import { start } from './program';
import { changeSession } from './secrets';
import { slowDown } from './slow-machine';

const LINES = 10_000;
const PASSAGES = LINES / 20;
/** Ten times as quick as the quickest models write. */
const SECONDS = 25;
/** Frames a second, where an idle page has 60 here. */
const FRAMES = 50;
const ATTEMPTS = 2;
/** Bytes that may stay in memory for a character of the answer: two in each of some copies. */
const BYTES = 14;
const ALL = 'Tell me all of it.';

/** A piece of an answer with everything in it: 20 lines. */
function passage(number: number): string {
  const items = Array.from({ length: 5 }, (_, at) => `- point ${at} of part ${number} with **weight**`);
  const code = Array.from({ length: 5 }, (_, at) => `value_${at} = compute(${number}, ${at})  # → done`);
  return [
    `## Part ${number}`,
    '',
    `Some words with \`code\`, *emphasis* and a [link](https://example.com/${number}) in it.`,
    '',
    ...items,
    '',
    '```python',
    ...code,
    '```',
    '',
    '',
  ].join('\n');
}

const ANSWER = Array.from({ length: PASSAGES }, (_, number) => passage(number)).join('');

interface Stage {
  /** In OpenAI's place. */
  talker: string;
}

const test = base.extend<object, Stage>({
  talker: [
    async ({}, use: (url: string) => Promise<void>) => {
      const server = createServer((request, response) => {
        void text(request).then((body) => tell(response, body.includes(ALL) ? ANSWER : passage(0)));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      await use(`http://127.0.0.1:${portOf(server)}/v1`);
      server.closeAllConnections();
      server.close();
    },
    { scope: 'worker' },
  ],
  gateway: [
    async ({ talker }, use) => {
      const gateway = await start(['serve', '--port', '0'], {
        TRUNKLINE_PROVIDERS__OPENAI__BASE_URL: talker,
      });
      await use(gateway);
      await gateway.stop();
    },
    { scope: 'worker', timeout: 120_000 },
  ],
});

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Stream a text at the pace of the whole. */
function tell(response: ServerResponse, answer: string): void {
  const event = (chunk: object) => `data: ${JSON.stringify(chunk)}\n\n`;
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const began = performance.now();
  let told = 0;
  const timer = setInterval(() => {
    const due = Math.ceil((ANSWER.length * (performance.now() - began)) / (SECONDS * 1000));
    response.write(event({ choices: [{ index: 0, delta: { content: answer.slice(told, due) } }] }));
    told = due;
    if (told < answer.length) return;
    clearInterval(timer);
    response.write(event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }));
    response.end('data: [DONE]\n\n');
  }, 15);
  response.on('close', () => clearInterval(timer));
}

/** Frames a second: of half a second, or of as long as the answer is under way. */
function frameRate(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const chat = document.querySelector<HTMLElement>('.chat');
        let frames = 0;
        let began = 0;
        const count = (now: number): void => {
          began ||= now;
          frames += 1;
          const passed = now - began;
          if (passed > 500 && chat?.dataset['status'] === 'idle') resolve(((frames - 1) * 1000) / passed);
          else requestAnimationFrame(count);
        };
        requestAnimationFrame(count);
      }),
  );
}

/** Bytes in use once all garbage is gone, some of which is let go of a moment later. */
async function heap(devtools: CDPSession): Promise<number> {
  let least = Infinity;
  for (let time = 0; time < 3; time += 1) {
    await devtools.send('HeapProfiler.collectGarbage');
    const { metrics } = await devtools.send('Performance.getMetrics');
    least = Math.min(least, metrics.find(({ name }) => name === 'JSHeapUsedSize')?.value ?? Infinity);
    await new Promise((done) => setTimeout(done, 1000));
  }
  return least;
}

test('an answer of 10,000 lines keeps the page smooth and its memory flat', async ({ page, gateway }) => {
  await page.goto('/chat');
  await changeSession(page, gateway.url, { provider: 'openai', model: 'long', provider_key: KEY });
  await page.reload();
  await expect(page.getByRole('combobox', { name: 'Provider' })).toHaveValue('openai');
  const message = page.getByRole('textbox', { name: 'Message' });
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable');
  await message.fill('Tell me a little.');
  await page.keyboard.press('Enter');
  await expect(page.locator('.hljs-comment').first()).toBeVisible(); // all that it takes is loaded
  const before = await heap(devtools);

  const rate = await slowDown(page, devtools);
  const idle = await frameRate(page);
  // A machine that shows fewer frames when nothing happens cannot show more when much does.
  const wanted = Math.min(FRAMES, (idle * FRAMES) / 60);
  let busy = 0;
  let after = 0;
  // Something else on the machine may have its turn once.
  for (let attempt = 1; attempt <= ATTEMPTS && busy < wanted; attempt += 1) {
    await devtools.send('Emulation.setCPUThrottlingRate', { rate });
    await message.fill(ALL);
    await page.keyboard.press('Enter');
    const answer = page.locator('.answer').nth(attempt);
    await expect(answer.locator('h3').first()).toBeVisible();
    busy = await frameRate(page);
    await devtools.send('Emulation.setCPUThrottlingRate', { rate: 1 });
    await expect(answer.locator('.code > button')).toHaveCount(PASSAGES);
    await expect(answer.locator('h3').last()).toHaveText(`Part ${PASSAGES - 1}`);
    after ||= await heap(devtools);
  }

  const measured = JSON.stringify({ rate, idle, busy, before, after, characters: ANSWER.length });
  console.log(measured);
  test.info().annotations.push({ type: 'measured', description: measured });
  expect(busy, measured).toBeGreaterThan(wanted);
  // What is kept is the text itself, some copies of it for the gateway, and nothing for each piece that came.
  expect(after, measured).toBeLessThan(1.1 * before + BYTES * ANSWER.length);
});
