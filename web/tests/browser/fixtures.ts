/** What every browser test has: a gateway before a strict upstream, a page whose errors count, and accessibility. */
import { test as base, expect, type Page } from '@playwright/test';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { furnish, type Furnished } from './furnished';
import { start, type Program } from './program';
import { KEY, servers, TOKEN } from './servers';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** The rules that another colour may break. */
const OF_COLOURS = ['color-contrast', 'link-in-text-block'];

interface Watched {
  /** Console messages that the test expects, for example of a request that is meant to fail. */
  expectedErrors: RegExp[];
}

interface OfThisWorker extends ReturnType<typeof servers> {
  /** A gateway that nothing is ever put into. */
  empty: Program;
  /** One with something in every list. */
  furnished: Furnished;
}

export const test = base.extend<Watched, OfThisWorker>({
  upstream: [({}, use) => use(servers().upstream), { scope: 'worker' }],
  gateway: [({}, use) => use(servers().gateway), { scope: 'worker' }],
  guarded: [({}, use) => use(servers().guarded), { scope: 'worker' }],
  empty: [
    async ({}, use) => {
      const gateway = await start(['serve', '--port', '0']);
      await use(gateway);
      await gateway.stop();
    },
    { scope: 'worker', timeout: 120_000 },
  ],
  furnished: [
    async ({ playwright }, use) => {
      const request = await playwright.request.newContext({ timeout: 100_000 });
      const made = await furnish(request);
      await request.dispose();
      await use(made);
      await made.gateway.stop();
    },
    { scope: 'worker', timeout: 120_000 },
  ],
  expectedErrors: async ({}, use) => use([]),
  baseURL: async ({ gateway }, use) => use(gateway.url),
  page: async ({ page, expectedErrors }, use) => {
    const errors: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') errors.push(message.text());
    });
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.addInitScript(listenToTheSpeakers);
    await use(page);
    expect(errors.filter((text) => !expectedErrors.some((expected) => expected.test(text)))).toEqual([]);
  },
});

export { expect, KEY, TOKEN };

/** Runs in the page: whatever goes to the speakers also goes to an analyser, which `soundLevel` reads. */
function listenToTheSpeakers(): void {
  const connect = AudioNode.prototype.connect as (...args: unknown[]) => unknown;
  AudioNode.prototype.connect = function (this: AudioNode, ...args: unknown[]) {
    if (args[0] instanceof AudioDestinationNode) {
      let analyser = (window as { speakers?: AnalyserNode }).speakers;
      if (analyser?.context !== this.context) {
        analyser = this.context.createAnalyser();
        analyser.fftSize = 2048;
        Object.assign(window, { speakers: analyser });
      }
      connect.call(this, analyser);
    }
    return connect.apply(this, args);
  } as typeof AudioNode.prototype.connect;
}

/** The level at the speakers now, root mean square of full scale. */
export function soundLevel(page: Page): Promise<number> {
  return page.evaluate(() => {
    const analyser = (window as unknown as { speakers?: AnalyserNode }).speakers;
    if (!analyser) return 0;
    const samples = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
  });
}

/** Fails when axe finds anything on the page as it is now. */
export async function expectAccessible(page: Page, state = ''): Promise<void> {
  expect(await violations(page), state).toEqual([]);
}

/** What axe finds on the page as it is now, or only in its colours: rule, what is wrong and where. */
export async function violations(
  page: Page,
  about: 'everything' | 'colours' = 'everything',
): Promise<string[]> {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(AXE);
  const runOnly = about === 'colours' ? { type: 'rule', values: OF_COLOURS } : { type: 'tag', values: TAGS };
  return page.evaluate(async (runOnly) => {
    const { axe } = window as unknown as { axe: { run(options: object): Promise<AxeResults> } };
    interface AxeResults {
      violations: { id: string; help: string; nodes: { target: string[]; failureSummary: string }[] }[];
    }
    const results = await axe.run({ runOnly, resultTypes: ['violations'], elementRef: false });
    return results.violations.flatMap(({ id, help, nodes }) =>
      nodes.map((node) => `${id}: ${help}: ${node.target.join(' ')}: ${node.failureSummary}`),
    );
  }, runOnly);
}

/** Collects the sound of a page's realtime socket: PCM, 16 bit, 24 kHz. */
export function receivedAudio(page: Page): Buffer[] {
  const pieces: Buffer[] = [];
  page.on('websocket', (socket) =>
    socket.on('framereceived', ({ payload }) => {
      const event: unknown = JSON.parse(payload.toString());
      if (isAudio(event)) pieces.push(Buffer.from(event.delta, 'base64'));
    }),
  );
  return pieces;
}

function isAudio(event: unknown): event is { delta: string } {
  return (event as { type?: string }).type === 'response.output_audio.delta';
}
