/** How quick pages are on a slow machine and network (10 Mbit/s, 40 ms): section 8 of the console's plan. */
import type { Browser } from '@playwright/test';

import { expect, test } from './fixtures';
import type { Furnished } from './furnished';
import { settled } from './pages';
import { slowDown } from './slow-machine';

const RUNS = 3;
const NETWORK = { offline: false, latency: 40, downloadThroughput: 1.25e6, uploadThroughput: 1.25e6 };
const LIMITS = { paint: 1000, interaction: 150, shift: 0.05, task: 200 };
const PATHS = ['/', '/chat', '/logs', '/voice'];

interface Measured {
  /** When the largest piece of the page was painted, in milliseconds since it was asked for. */
  paint: number;
  /** The slowest answer to a key or a press, in milliseconds until it was painted. */
  interaction: number;
  /** How much moved by itself, as a share of the window. */
  shift: number;
  /** The longest that the page answered to nothing, in milliseconds. */
  task: number;
}

for (const path of PATHS) {
  test(`${path} is there soon, answers at once and does not jump`, async ({ browser, furnished }) => {
    const runs: Measured[] = [];
    for (let run = 0; run < RUNS; run++) runs.push(await measure(browser, furnished, path));
    // The best: whatever else the machine does can only add to what the page takes.
    for (const name of Object.keys(LIMITS) as (keyof Measured)[])
      expect(Math.min(...runs.map((one) => one[name])), `${name} of ${path}`).toBeLessThanOrEqual(
        LIMITS[name],
      );
  });
}

async function measure(browser: Browser, { gateway, signedIn }: Furnished, path: string): Promise<Measured> {
  const context = await browser.newContext({ storageState: signedIn });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', NETWORK);
  await slowDown(page, session);
  await page.addInitScript(observe);
  await page.goto(gateway.url + path);
  await settled(page);
  await page.keyboard.press('?');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: /^Theme/ }).click();
  const box = page.locator('main :is(textarea, input[type="search"], input:not([type])):visible').first();
  if (await box.isVisible()) await box.pressSequentially('hello there', { delay: 30 });
  // Entries are handed out with the frame after what they are of.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100))));
  const measured = await page.evaluate(() => (window as unknown as { measured: Measured }).measured);
  await context.close();
  return measured;
}

/** Runs in the page before its own scripts. */
function observe(): void {
  const measured: Measured = { paint: 0, interaction: 0, shift: 0, task: 0 };
  Object.assign(window, { measured });
  const watch = (type: string, keep: (entry: PerformanceEntry) => void, options = {}) =>
    new PerformanceObserver((list) => list.getEntries().forEach(keep)).observe({
      type,
      buffered: true,
      ...options,
    });
  watch('largest-contentful-paint', ({ startTime }) => (measured.paint = startTime));
  watch('longtask', ({ duration }) => (measured.task = Math.max(measured.task, duration)));
  watch('layout-shift', (entry) => {
    const { value, hadRecentInput } = entry as PerformanceEntry & { value: number; hadRecentInput: boolean };
    if (!hadRecentInput) measured.shift += value;
  });
  watch(
    'event',
    (entry) => {
      const { interactionId, duration } = entry as PerformanceEntry & { interactionId?: number };
      if (interactionId) measured.interaction = Math.max(measured.interaction, duration);
    },
    { durationThreshold: 16 },
  );
}
