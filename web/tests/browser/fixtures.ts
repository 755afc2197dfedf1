/** What every browser test has: a gateway before a strict upstream, a page whose errors count, and accessibility. */
import { test as base, expect, type Page } from '@playwright/test';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { start, type Program } from './program';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** The key that the strict upstream in OpenAI's place wants. */
export const KEY = 'sk-browser-test-0123456789abcdef';

/** What callers of the guarded gateway show. */
export const TOKEN = 'browser-test-token-0123456789abcdef';

interface Servers {
  /** In OpenAI's place: it wants `KEY`, and refuses what has none, a wrong one or two. */
  upstream: Program;
  /** It trusts whoever can reach it. */
  gateway: Program;
  /** It wants `TOKEN`. */
  guarded: Program;
}

interface Watched {
  /** Console messages that the test expects, for example of a request that is meant to fail. */
  expectedErrors: RegExp[];
}

export const test = base.extend<Watched, Servers>({
  upstream: [
    async ({}, use) => {
      const upstream = await start(['local', '--port', '0'], { TRUNKLINE_LOCAL_KEY: KEY });
      await use(upstream);
      await upstream.stop();
    },
    { scope: 'worker', timeout: 120_000 },
  ],
  gateway: [
    async ({ upstream }, use) => {
      const gateway = await serve(upstream, { TRUNKLINE_PROBE_ALLOWED_HOSTS: '127.0.0.1' });
      await warmUp(gateway);
      await use(gateway);
      await gateway.stop();
    },
    { scope: 'worker', timeout: 120_000 },
  ],
  guarded: [
    async ({ upstream }, use) => {
      const gateway = await serve(upstream, { TRUNKLINE_GATEWAY_TOKEN: TOKEN });
      await use(gateway);
      await gateway.stop();
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

export { expect };

function serve(upstream: Program, environment: Record<string, string>): Promise<Program> {
  return start(['serve', '--port', '0'], {
    TRUNKLINE_PROVIDERS__OPENAI__BASE_URL: `${upstream.url}/v1`,
    ...environment,
  });
}

/** Loads the local models, so that the first test waits no longer than the others. */
async function warmUp(gateway: Program): Promise<void> {
  const answer = await fetch(`${gateway.url}/v1/local/default/local/models`);
  expect(answer.status).toBe(200);
}

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
export async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(AXE);
  const violations = await page.evaluate(async (rules) => {
    const { axe } = window as unknown as { axe: { run(options: object): Promise<AxeResults> } };
    interface AxeResults {
      violations: { id: string; help: string; nodes: { target: string[]; failureSummary: string }[] }[];
    }
    const results = await axe.run({ runOnly: { type: 'tag', values: rules } });
    return results.violations.map(({ id, help, nodes }) => ({
      id,
      help,
      where: nodes.map((node) => `${node.target.join(' ')}: ${node.failureSummary}`),
    }));
  }, RULES);
  expect(violations).toEqual([]);
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
