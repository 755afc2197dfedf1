/** The same clip said to a model through the gateway and straight to its provider, several times, and what both took. */

import { ApiFailure } from '../api/console';
import { encodeBase64, WIRE_RATE } from '../audio/pcm';
import { parseJson } from '../narrow';
import { readServerEvent, type ServerEvent } from './events';
import { percentile } from './latency';
import { TransportFailure, type RealtimeTransport } from './transport';

export const WAYS = ['gateway', 'direct'] as const;
export type Way = (typeof WAYS)[number];

export const MEASURES = ['connect', 'roundTrip', 'firstByte', 'playable'] as const;
/**
 * - `connect`: from dialling to `session.created`, the asking for a secret included
 * - `roundTrip`: a `session.update` to its `session.updated`
 * - `firstByte`: from the end of the clip to the first audio
 * - `playable`: from the end of the clip until so much has come that playing would start
 */
export type Measure = (typeof MEASURES)[number];

/** In milliseconds. */
export type Trial = Readonly<Record<Measure, number>> & { readonly way: Way };

export interface WayFailure {
  readonly way: Way;
  /** The gateway's or the provider's own words. */
  readonly message: string;
  readonly code: string;
}

export type Step = 'connecting' | 'speaking' | 'waiting';

export interface ComparisonNews {
  /** Which run is at which step. */
  step(way: Way, run: number, step: Step): void;
  trial(trial: Trial): void;
  /** What failed is not tried again; the other way goes on. */
  failed(failure: WayFailure): void;
}

export interface ComparisonParts {
  readonly dial: Readonly<Record<Way, () => RealtimeTransport>>;
  /** At the wire's rate. */
  readonly clip: Int16Array<ArrayBuffer>;
  readonly runs: number;
  readonly voice: string;
  readonly signal: AbortSignal;
  readonly now?: () => number;
  /** Resolves after so many milliseconds. */
  readonly pause?: (ms: number) => Promise<void>;
}

const FRAME_MS = 40;
const FRAME_SAMPLES = (WIRE_RATE * FRAME_MS) / 1000;
/** With this much at hand playing begins, as in a call. */
const PLAYABLE_MS = 120;
const PATIENCE_MS = 60_000;
/** A server that was left in the middle of an answer needs a moment to notice. */
const REST_MS = 300;

/** Run the comparison, the ways by turns. Resolves when it is over or its signal aborts; never rejects. */
export async function compare(parts: ComparisonParts, news: ComparisonNews): Promise<void> {
  const { runs, signal, pause = wait } = parts;
  const failed = new Set<Way>();
  for (let run = 0; run < runs; run += 1) {
    // Whoever is second profits from what the first has warmed up.
    for (const way of run % 2 === 0 ? WAYS : [...WAYS].reverse()) {
      if (failed.has(way)) continue;
      try {
        news.trial(await trialOf(parts, way, (step) => news.step(way, run, step)));
      } catch (error) {
        if (signal.aborted) return;
        failed.add(way);
        news.failed(failureOf(way, error));
      }
      if (failed.size === WAYS.length) return;
      await pause(REST_MS);
      if (signal.aborted) return;
    }
  }
}

async function trialOf(parts: ComparisonParts, way: Way, tell: (step: Step) => void): Promise<Trial> {
  const { clip, voice, signal, now = () => performance.now(), pause = wait } = parts;
  const transport = parts.dial[way]();
  const line = new Line(transport, signal);
  try {
    tell('connecting');
    const dialledAt = now();
    await line.whole(transport.open());
    await line.next(({ type }) => type === 'session.created');
    const connect = now() - dialledAt;

    const askedAt = now();
    transport.send({
      type: 'session.update',
      session: {
        type: 'realtime',
        output_modalities: ['audio'],
        instructions: 'Answer in one short sentence.',
        audio: {
          input: { format: { type: 'audio/pcm', rate: 24000 }, turn_detection: null },
          output: { format: { type: 'audio/pcm', rate: 24000 }, voice },
        },
      },
    });
    await line.next(({ type }) => type === 'session.updated');
    const roundTrip = now() - askedAt;

    tell('speaking');
    // At the pace of speech: a provider may hear along.
    const begunAt = now();
    const until = (samples: number) => pause(Math.max(0, begunAt + (samples * 1000) / WIRE_RATE - now()));
    for (let offset = 0; offset < clip.length; offset += FRAME_SAMPLES) {
      await line.whole(until(Math.min(offset + FRAME_SAMPLES, clip.length)));
      const audio = encodeBase64(clip.slice(offset, offset + FRAME_SAMPLES));
      transport.send({ type: 'input_audio_buffer.append', audio });
    }

    tell('waiting');
    const endedAt = now();
    transport.send({ type: 'input_audio_buffer.commit' });
    transport.send({ type: 'response.create' });
    let firstByte: number | null = null;
    for (let heardMs = 0; heardMs < PLAYABLE_MS;) {
      const event = await line.next(
        ({ type }) => type === 'response.output_audio.delta' || type === 'response.done',
      );
      if (event.type === 'response.output_audio.delta') {
        firstByte ??= now() - endedAt;
        heardMs += event.audioMs;
      } else if (event.type === 'response.done' && firstByte === null) {
        throw new Refused(
          event.error?.message ?? 'The answer had no sound.',
          event.error?.code ?? 'no_sound',
        );
      } else {
        break; // a short answer is whole
      }
    }
    return { way, connect, roundTrip, firstByte: firstByte ?? NaN, playable: now() - endedAt };
  } finally {
    line.leave();
  }
}

class Refused extends Error {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message);
  }
}

/** The events of one connection, in their order; what is wrong with it ends the waiting. */
class Line {
  readonly #events: ServerEvent[] = [];
  #wake: () => void = () => undefined;
  #broken: Error | null = null;
  #fail: (error: Error) => void = () => undefined;
  readonly #end: Promise<never>;
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(
    private readonly transport: RealtimeTransport,
    private readonly signal: AbortSignal,
  ) {
    this.#end = new Promise((_, reject) => (this.#fail = reject));
    this.#end.catch(() => undefined); // it may break while nobody waits
    transport.onEvent = (text) => this.#take(readServerEvent(parseJson(text)));
    transport.onClose = (close) => this.#break(new TransportFailure(close));
    this.#timer = setTimeout(
      () => this.#break(new Refused('There was no answer in time.', 'timeout')),
      PATIENCE_MS,
    );
    signal.addEventListener('abort', this.#aborted);
    if (signal.aborted) this.#aborted();
  }

  /** Wait for something, unless the connection breaks first. */
  whole<Value>(value: Promise<Value>): Promise<Value> {
    return Promise.race([value, this.#end]);
  }

  /** Return the next event that is wanted; those before it are passed over. */
  async next(isWanted: (event: ServerEvent) => boolean): Promise<ServerEvent> {
    for (;;) {
      for (let event = this.#events.shift(); event; event = this.#events.shift())
        if (isWanted(event)) return event;
      if (this.#broken) throw this.#broken;
      await this.whole(new Promise<void>((resolve) => (this.#wake = resolve)));
    }
  }

  leave(): void {
    clearTimeout(this.#timer);
    this.signal.removeEventListener('abort', this.#aborted);
    this.transport.onEvent = () => undefined;
    this.transport.onClose = () => undefined;
    this.transport.close();
  }

  readonly #aborted = (): void => this.#break(new Refused('Cancelled.', 'cancelled'));

  #take(event: ServerEvent): void {
    if (event.type === 'error') this.#break(new Refused(event.error.message, event.error.code));
    this.#events.push(event);
    this.#wake();
  }

  #break(error: Error): void {
    this.#broken ??= error;
    this.#fail(error);
  }
}

function failureOf(way: Way, error: unknown): WayFailure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof TransportFailure) return { way, message, code: `close ${error.close.code}` };
  const code = error instanceof ApiFailure || error instanceof Refused ? error.code : '';
  return { way, message, code };
}

export interface Spread {
  readonly count: number;
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export interface Compared {
  readonly measure: Measure;
  readonly gateway: Spread | null;
  readonly direct: Spread | null;
  /** What the gateway adds: its median less the direct one; null where a side is missing. */
  readonly difference: number | null;
}

/** Put the trials side by side. */
export function compared(trials: readonly Trial[]): Compared[] {
  return MEASURES.map((measure) => {
    const of = (way: Way) =>
      spreadOf(trials.filter((trial) => trial.way === way).map((trial) => trial[measure]));
    const [gateway, direct] = [of('gateway'), of('direct')];
    const difference = gateway && direct ? gateway.median - direct.median : null;
    return { measure, gateway, direct, difference };
  });
}

function spreadOf(values: readonly number[]): Spread | null {
  const sorted = [...values].sort((a, b) => a - b);
  const [least, most] = [sorted[0], sorted.at(-1)];
  if (least === undefined || most === undefined) return null;
  return { count: sorted.length, median: percentile(sorted, 0.5), least, most };
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
