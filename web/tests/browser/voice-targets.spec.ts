/** What a call promises, measured: the microphone's pace, silence on interruption, no gaps, a heap that stays. */
import type { CDPSession, Page } from '@playwright/test';

import { expect, expectAccessible, KEY, soundLevel, test as base } from './fixtures';
import { PacedVoice } from './paced-voice';
import { start, type Program } from './program';
import { changeSession } from './secrets';
import { connect, panel } from './voice-page';

const CALL = { provider: 'openai', model: 'local', realtime_model: 'local', provider_key: KEY };
/** The full half hour: `TRUNKLINE_SOAK_MINUTES=30`. Otherwise a third of its turns, as fast as they go. */
const MINUTES = Number(process.env['TRUNKLINE_SOAK_MINUTES'] ?? 0);
const TURNS_A_MINUTE = 6;
/** By then the event log shows as many lines as it ever does. */
const WARM_UP = 30;
const TURNS = (MINUTES || 10) * TURNS_A_MINUTE;
const MEGABYTE = 1 << 20;

interface Paced {
  voice: PacedVoice;
  front: Program;
}

const test = base.extend<object, Paced>({
  voice: [
    async ({}, use) => {
      const voice = await PacedVoice.start();
      await use(voice);
      voice.stop();
    },
    { scope: 'worker' },
  ],
  front: [
    async ({ voice }, use) => {
      const front = await start(['serve', '--port', '0'], {
        TRUNKLINE_PROVIDERS__OPENAI__BASE_URL: `${voice.url}/v1`,
      });
      await use(front);
      await front.stop();
    },
    { scope: 'worker', timeout: 120_000 },
  ],
  baseURL: async ({ front }, use) => use(front.url),
  page: async ({ page, front }, use) => {
    await page.addInitScript(watchTheCall);
    await changeSession(page, front.url, CALL);
    await page.goto('/voice');
    await use(page);
  },
});

interface Watched {
  /** How many answers have come, whole. */
  answers: number;
  /** When each frame of the microphone was sent. */
  frames: number[];
  /** From each news of the user's speech until nothing was heard any more. */
  silences: number[];
  speakers?: AnalyserNode;
}

/** Runs in the page. Its own listener is the socket's first, so that the clock starts before the page knows. */
function watchTheCall(): void {
  const watched = window as unknown as Watched;
  Object.assign(watched, { answers: 0, frames: [], silences: [] });
  const Dialled = window.WebSocket;
  window.WebSocket = class extends Dialled {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      this.addEventListener('message', ({ data }) => {
        if (String(data).includes('"response.done"')) watched.answers += 1;
        if (String(data).includes('"input_audio_buffer.speech_started"')) untilSilence(performance.now());
      });
    }

    override send(data: string): void {
      if (data.includes('"input_audio_buffer.append"')) watched.frames.push(performance.now());
      super.send(data);
    }
  };

  function untilSilence(since: number): void {
    const { speakers } = watched;
    if (!speakers) return;
    const latest = new Float32Array(speakers.fftSize);
    const look = () => {
      speakers.getFloatTimeDomainData(latest);
      if (latest.slice(-256).every((sample) => Math.abs(sample) < 0.003)) {
        watched.silences.push(performance.now() - since);
      } else setTimeout(look, 1);
    };
    look();
  }
}

const watched = (page: Page) =>
  page.evaluate(() => {
    const { answers, frames, silences } = window as unknown as Watched;
    return { answers, frames, silences };
  });

function share(values: readonly number[], part: number): number {
  return [...values].sort((a, b) => a - b)[Math.ceil(part * values.length) - 1] ?? NaN;
}

/** A number of the latency table. */
async function latency(page: Page, name: string): Promise<number> {
  const row = page.getByRole('row', { name });
  return Number((await row.getByRole('cell').first().innerText()).replace(/\D/g, ''));
}

/** The machine may do something else for a while, and then it is not the page that is late. */
const ATTEMPTS = 4;

test('frames leave every 40 ms, and at real time with 100 ms of jitter no sound is missed', async ({
  page,
  voice,
}) => {
  await connect(page);
  const paces: Pace[] = [];
  while (paces.length < ATTEMPTS && !paces.some(isKept)) {
    const [before, from] = [await gaps(page), (await watched(page)).frames.length];
    await voice.answers(5, 100);
    await expect(panel(page)).toHaveAttribute('data-phase', 'listening');
    paces.push(paceOf((await watched(page)).frames.slice(from), (await gaps(page)) - before));
  }
  expect(paces.some(isKept), JSON.stringify(paces)).toBe(true);
});

test('speech brings silence within 60 ms, and what nobody heard is taken back', async ({ page, voice }) => {
  await connect(page);
  const said = voice.heard.length;
  const silences: number[] = [];
  const isKept = () => silences.length >= 5 && share(silences.slice(-5), 0.5) <= 60;
  while (silences.length < 5 * ATTEMPTS && !isKept()) {
    let isCut = false;
    const answer = voice.answers(30, 0, () => isCut);
    await expect.poll(() => soundLevel(page)).toBeGreaterThan(0.05);
    voice.hearsSpeech();
    await expect.poll(async () => (await watched(page)).silences.length).toBe(silences.length + 1);
    isCut = true;
    await answer;
    voice.understands('stop');
    silences.push((await watched(page)).silences.at(-1) ?? NaN);
  }
  const types = voice.heard.slice(said);
  expect(types.filter((type) => type === 'conversation.item.truncate')).toHaveLength(silences.length);
  expect(types, 'the server interrupts itself').not.toContain('response.cancel');
  expect(await latency(page, 'Barge-in → silence')).toBeGreaterThan(0);
  expect(isKept(), `half of the last five: ${silences.join(', ')}`).toBe(true);
});

interface Pace {
  /** p99 of the time between frames, in milliseconds. */
  readonly between: number;
  /** How many frames more or fewer than there was time for. */
  readonly amiss: number;
  /** Gaps in playback. */
  readonly gaps: number;
}

function isKept({ between, amiss, gaps }: Pace): boolean {
  return between <= 60 && Math.abs(amiss) <= 1 && gaps === 0;
}

function paceOf(frames: readonly number[], gaps: number): Pace {
  const between = frames.slice(1).map((at, index) => at - (frames[index] ?? NaN));
  const lasted = (frames.at(-1) ?? NaN) - (frames[0] ?? NaN);
  return { between: share(between, 0.99), amiss: frames.length - 1 - lasted / 40, gaps };
}

async function gaps(page: Page): Promise<number> {
  const said = await page.getByText(/Gaps in playback/).allInnerTexts();
  return Number(/Gaps in playback:\s*(\d+)/.exec(said.join())?.[1] ?? 0);
}

test('the heap of a call of half an hour grows by no more than 5 MB', async ({ page, voice }) => {
  test.setTimeout(90_000 + MINUTES * 90_000);
  await connect(page);
  const devtools = await page.context().newCDPSession(page);
  const turn = async (number: number) => {
    voice.hearsSpeech();
    voice.understands(`this is question number ${number} of many, as long as people ask`);
    if (MINUTES) await voice.answers(8);
    else voice.answersAtOnce(30);
    await expect.poll(async () => (await watched(page)).answers, { intervals: [10] }).toBe(number);
    if (MINUTES) await page.waitForTimeout(2000); // the pause of who thinks about the answer
  };
  for (let number = 1; number <= WARM_UP; number += 1) await turn(number);
  const before = await heapOf(devtools);
  for (let number = 1; number <= TURNS; number += 1) {
    await turn(WARM_UP + number);
    if (MINUTES && number % 30 === 0) {
      console.log(`after ${number / TURNS_A_MINUTE} minutes: ${megabytes(await heapOf(devtools))} MB`);
    }
  }
  await expect(page.getByText(`question number ${WARM_UP + TURNS} of`)).toHaveCount(1);
  const after = await heapOf(devtools);
  console.log(`heap: ${megabytes(before)} MB, then ${megabytes(after)} MB after ${TURNS} turns`);
  const halfHour = ((after - before) / TURNS) * TURNS_A_MINUTE * 30;
  expect(halfHour / MEGABYTE, 'MB more after half an hour').toBeLessThanOrEqual(5);
});

function megabytes(bytes: number): string {
  return (bytes / MEGABYTE).toFixed(1);
}

async function heapOf(devtools: CDPSession): Promise<number> {
  await devtools.send('HeapProfiler.collectGarbage');
  await devtools.send('HeapProfiler.collectGarbage');
  return ((await devtools.send('Runtime.getHeapUsage')) as { usedSize: number }).usedSize;
}

test('devices change, the sound is stopped, the button is held by Space, and the call leaves its record', async ({
  page,
  voice,
}) => {
  await page.getByLabel('Record the sound').check();
  await page.getByLabel('Sound in one message').selectOption({ label: '20 ms' });
  await connect(page);
  const sent = async () => (await watched(page)).frames.length;
  await expect.poll(sent).toBeGreaterThan(10);

  const before = await sent();
  await page.evaluate(() => navigator.mediaDevices.dispatchEvent(new Event('devicechange')));
  await expect.poll(sent, { message: 'the microphone goes on' }).toBeGreaterThan(before + 40);

  await page.evaluate(() => ((window as unknown as Watched).speakers?.context as AudioContext).suspend());
  await page.getByRole('button', { name: 'Resume sound' }).click();
  await expect(page.locator('[data-hint="sound-stopped"]')).toHaveCount(0);

  await page.getByLabel('Push to talk').check();
  const talk = page.getByRole('button', { name: 'Hold to talk' });
  await talk.focus();
  await page.keyboard.down('Space');
  await expect(panel(page)).toHaveAttribute('data-phase', 'user-speaking');
  const pressed = await sent();
  await expect.poll(sent).toBeGreaterThan(pressed + 10);
  await page.keyboard.up('Space');
  await expect.poll(() => voice.heard.slice(-2)).toEqual(['input_audio_buffer.commit', 'response.create']);
  await voice.answers(0.4);

  await page.getByLabel('Kind').selectOption('input_audio_buffer.commit');
  const log = page.getByRole('region', { name: 'Event log' });
  await expect(log.getByRole('listitem')).toHaveCount(1);
  await log.locator('summary').focus();
  await page.keyboard.press('Enter');
  await expect(log.getByText('"input_audio_buffer.commit"')).toBeVisible();
  for (const side of ['you', 'assistant'])
    await expect(page.getByRole('button', { name: `Save ${side} as WAV` })).toBeEnabled();

  await page.getByRole('button', { name: 'Disconnect' }).click();
  const kept = page.getByRole('region', { name: 'What the gateway kept of the call' });
  await expect(kept).toContainText('Turns');
  const session = await kept.getByRole('link', { name: /^Session/ }).getAttribute('href');
  expect(session).toMatch(/^\/sessions\/[0-9A-Z]{26}$/);
  const record = await page.request.get(`/api/realtime/records/${session?.split('/').at(-1) ?? ''}`);
  expect(((await record.json()) as { provider: string }).provider).toBe('openai');
  await expectAccessible(page);
});

test('a gateway that goes away during a call is told of in words', async ({
  page,
  voice,
  expectedErrors,
}) => {
  expectedErrors.push(/ERR_CONNECTION_REFUSED|WebSocket/);
  const away = await start(['serve', '--port', '0'], {
    TRUNKLINE_PROVIDERS__OPENAI__BASE_URL: `${voice.url}/v1`,
  });
  await changeSession(page, away.url, CALL);
  await page.goto(`${away.url}/voice`);
  await connect(page);
  voice.hearsSpeech();
  voice.understands('hello');
  await voice.answers(0.2);
  await away.stop();
  await expect(page.locator('[data-problem]')).toContainText(/connection was lost|ended by the other side/);
  await expect(page.getByRole('button', { name: 'Connect again' })).toBeVisible();
});
