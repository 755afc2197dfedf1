import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiFailure } from '../api/console';
import { encodeBase64 } from '../audio/pcm';
import { compare, compared, type Step, type Trial, type Way, type WayFailure } from './comparison';
import { MemoryTransport, TransportFailure } from './transport';

/** A server that answers each question after a time of its own. */
class Server extends MemoryTransport {
  constructor(
    private readonly delays: { connect: number; update: number; answer: number },
    private readonly answer: 'sound' | 'silence' | 'error' | 'close' = 'sound',
    refusal: Error | null = null,
  ) {
    super(refusal);
  }

  override async open(): Promise<void> {
    await super.open();
    this.#later(this.delays.connect, { type: 'session.created' });
  }

  override send(event: Parameters<MemoryTransport['send']>[0]): void {
    super.send(event);
    if (event.type === 'session.update')
      this.#later(this.delays.update, { type: 'session.updated', session: {} });
    if (event.type === 'response.create') this.#reply();
  }

  #reply(): void {
    const { answer } = this.delays;
    const delta = encodeBase64(new Int16Array(100 * 24));
    const sound = {
      type: 'response.output_audio.delta',
      response_id: 'r',
      item_id: 'i',
      content_index: 0,
      delta,
    };
    if (this.answer === 'sound') for (const later of [0, 20, 40]) this.#later(answer + later, sound);
    if (this.answer === 'silence') {
      this.#later(answer, { type: 'response.done', response: { id: 'r', status: 'completed' } });
    }
    if (this.answer === 'error')
      this.#later(answer, { type: 'error', error: { code: 'quota', message: 'No more.' } });
    if (this.answer === 'close')
      setTimeout(() => this.drop({ code: 1011, reason: 'oops', wasClean: true }), answer);
  }

  #later(ms: number, event: object): void {
    setTimeout(() => this.isOpen && this.deliver(event), ms);
  }
}

class Stage {
  readonly trials: Trial[] = [];
  readonly failures: WayFailure[] = [];
  readonly steps: string[] = [];
  readonly servers: Server[] = [];
  readonly aborting = new AbortController();

  run(dial: Record<Way, () => Server>, runs = 2): Promise<void> {
    const made = (way: Way) => () => {
      const server = dial[way]();
      this.servers.push(server);
      return server;
    };
    return compare(
      {
        dial: { gateway: made('gateway'), direct: made('direct') },
        clip: new Int16Array(24 * 100),
        runs,
        voice: 'alloy',
        signal: this.aborting.signal,
        now: () => Date.now(),
      },
      {
        step: (way: Way, run: number, step: Step) => this.steps.push(`${way} ${run} ${step}`),
        trial: (trial) => this.trials.push(trial),
        failed: (failure) => this.failures.push(failure),
      },
    );
  }
}

const quick = () => new Server({ connect: 30, update: 5, answer: 200 });
const slow = () => new Server({ connect: 50, update: 9, answer: 230 });

describe('compare', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('measures both ways from dialling and from the end of the clip', async () => {
    const stage = new Stage();
    void stage.run({ gateway: slow, direct: quick }, 1);
    await vi.runAllTimersAsync();
    expect(stage.trials).toEqual([
      { way: 'gateway', connect: 50, roundTrip: 9, firstByte: 230, playable: 250 },
      { way: 'direct', connect: 30, roundTrip: 5, firstByte: 200, playable: 220 },
    ]);
  });

  it('says the clip at the pace of speech, whole, without turn detection, then asks', async () => {
    const stage = new Stage();
    void stage.run({ gateway: slow, direct: quick }, 1);
    await vi.advanceTimersByTimeAsync(59 + 45);
    const [server] = stage.servers;
    const types = () => server?.sent.map(({ type }) => type);
    expect(types()).toEqual(['session.update', 'input_audio_buffer.append']);
    await vi.advanceTimersByTimeAsync(60);
    expect(types()?.slice(1)).toEqual([
      ...Array<string>(3).fill('input_audio_buffer.append'),
      'input_audio_buffer.commit',
      'response.create',
    ]);
    expect(server?.sent[0]).toMatchObject({ session: { audio: { input: { turn_detection: null } } } });
    await vi.runAllTimersAsync();
  });

  it('takes turns at who is first, and leaves each connection as soon as it knows', async () => {
    const stage = new Stage();
    void stage.run({ gateway: slow, direct: quick });
    await vi.runAllTimersAsync();
    expect(stage.trials.map(({ way }) => way)).toEqual(['gateway', 'direct', 'direct', 'gateway']);
    expect(stage.servers.every(({ closedBy }) => closedBy?.code === 1000)).toBe(true);
    expect(stage.steps.slice(0, 3)).toEqual([
      'gateway 0 connecting',
      'gateway 0 speaking',
      'gateway 0 waiting',
    ]);
  });

  it.each([
    [
      'a refused secret',
      () =>
        new Server(
          { connect: 0, update: 0, answer: 0 },
          'sound',
          new ApiFailure(401, 'no_key', 'Needs a key.'),
        ),
      'no_key',
      'Needs a key.',
    ],
    [
      'a refused connection',
      () =>
        new Server(
          { connect: 0, update: 0, answer: 0 },
          'sound',
          new TransportFailure({ code: 1006, reason: '', wasClean: false }),
        ),
      'close 1006',
      'The connection was closed with code 1006.',
    ],
    ['an error', () => new Server({ connect: 1, update: 1, answer: 1 }, 'error'), 'quota', 'No more.'],
    ['a close', () => new Server({ connect: 1, update: 1, answer: 1 }, 'close'), 'close 1011', 'oops'],
    [
      'an answer without sound',
      () => new Server({ connect: 1, update: 1, answer: 1 }, 'silence'),
      'no_sound',
      'The answer had no sound.',
    ],
    [
      'no answer',
      () => new Server({ connect: 1, update: 1, answer: 90_000 }),
      'timeout',
      'There was no answer in time.',
    ],
  ])('gives up a way after %s, says why and goes on with the other', async (_, direct, code, message) => {
    const stage = new Stage();
    void stage.run({ gateway: slow, direct }, 3);
    await vi.runAllTimersAsync();
    expect(stage.failures).toEqual([{ way: 'direct', code, message }]);
    expect(stage.trials.map(({ way }) => way)).toEqual(['gateway', 'gateway', 'gateway']);
  });

  it('ends at once when it is cancelled, and tells of no failure', async () => {
    const stage = new Stage();
    const over = stage.run({ gateway: slow, direct: quick });
    await vi.advanceTimersByTimeAsync(70);
    stage.aborting.abort();
    await over;
    expect(stage.failures).toEqual([]);
    expect(stage.trials).toEqual([]);
    expect(stage.servers).toHaveLength(1);
    expect(stage.servers[0]?.isOpen).toBe(false);
  });
});

it('what is compared are medians, and the difference is what the gateway adds', () => {
  const trial = (way: Way, ms: number): Trial => ({
    way,
    connect: ms,
    roundTrip: 1,
    firstByte: ms,
    playable: ms,
  });
  const trials = [
    ...[30, 10, 20].map((ms) => trial('gateway', ms)),
    ...[9, 400, 8].map((ms) => trial('direct', ms)),
  ];
  expect(compared(trials)[0]).toEqual({
    measure: 'connect',
    gateway: { count: 3, median: 20, least: 10, most: 30 },
    direct: { count: 3, median: 9, least: 8, most: 400 },
    difference: 11,
  });
  expect(compared([trial('direct', 5)])[2]).toMatchObject({ gateway: null, difference: null });
});
