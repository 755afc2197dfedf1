/**
 * How long things take, as this page experiences them. All times in milliseconds of one clock that the caller reads.
 *
 * "Speech end" has two meanings and both are kept apart: `heard` counts from the arrival of the server's
 * `speech_stopped`, `spoken` from the last voiced frame that was sent, which includes the silence the server waits for.
 */

/** Louder than this counts as voice, in dBFS. */
const VOICED_DBFS = -45;
/** Enough for an afternoon; older measurements leave. */
const KEPT = 200;

export interface Measurements {
  readonly count: number;
  readonly last: number;
  readonly p50: number;
  readonly p95: number;
}

export interface SpeechEndLatency {
  readonly heard: Measurements | null;
  readonly spoken: Measurements | null;
}

export interface LatencySummary {
  /** From the click on Connect to `session.created`, in the calls so far. */
  readonly connect: Measurements | null;
  /** From the end of speech to the first byte of audio. */
  readonly toFirstByte: SpeechEndLatency;
  /** From the end of speech to the first sound, the device's own delay included. */
  readonly toFirstSound: SpeechEndLatency;
  /** From the news of an interruption to silence. */
  readonly bargeInToSilence: Measurements | null;
  /** Audio queued for playing, now. */
  readonly bufferDepthMs: number;
  /** From sending a `session.update` to its `session.updated`. */
  readonly roundTrip: Measurements | null;
}

export class LatencyMeter {
  readonly #series = {
    connect: new Series(),
    byteHeard: new Series(),
    byteSpoken: new Series(),
    soundHeard: new Series(),
    soundSpoken: new Series(),
    bargeIn: new Series(),
    roundTrip: new Series(),
  };
  #clickedAt: number | null = null;
  #voicedAt: number | null = null;
  #turn: Turn | null = null;
  #bufferDepthMs = 0;
  #asked: number[] = [];

  clicked(at: number): void {
    this.#clickedAt = at;
    this.#asked = [];
    this.#turn = null;
    this.#voicedAt = null;
  }

  sessionCreated(at: number): void {
    if (this.#clickedAt !== null) this.#series.connect.add(at - this.#clickedAt);
    this.#clickedAt = null; // a session that replaces a lost one was not clicked for
    this.#asked = [];
  }

  frameSent(at: number, rms: number): void {
    if (rms > VOICED_DBFS) this.#voicedAt = at;
  }

  /** The server has heard the end, or the user has let go of the button. */
  speechEnded(at: number): void {
    this.#turn = { heardAt: at, spokenAt: this.#voicedAt, byte: false };
    this.#voicedAt = null;
  }

  /** A turn that is not answered by sound, such as a typed one. */
  turnDropped(): void {
    this.#turn = null;
  }

  firstByte(at: number): void {
    const turn = this.#turn;
    if (!turn || turn.byte) return;
    turn.byte = true;
    this.#series.byteHeard.add(at - turn.heardAt);
    if (turn.spokenAt !== null) this.#series.byteSpoken.add(at - turn.spokenAt);
  }

  firstSound(at: number): void {
    const turn = this.#turn;
    if (!turn?.byte) return;
    this.#series.soundHeard.add(at - turn.heardAt);
    if (turn.spokenAt !== null) this.#series.soundSpoken.add(at - turn.spokenAt);
    this.#turn = null;
  }

  silencedAfter(durationMs: number): void {
    this.#series.bargeIn.add(durationMs);
  }

  updateSent(at: number): void {
    this.#asked.push(at);
  }

  /** Answers come in the order of the questions. */
  updateAnswered(at: number): void {
    const asked = this.#asked.shift();
    if (asked !== undefined) this.#series.roundTrip.add(at - asked);
  }

  buffered(depthMs: number): void {
    this.#bufferDepthMs = depthMs;
  }

  get summary(): LatencySummary {
    const { connect, byteHeard, byteSpoken, soundHeard, soundSpoken, bargeIn, roundTrip } = this.#series;
    return {
      connect: connect.summary,
      toFirstByte: { heard: byteHeard.summary, spoken: byteSpoken.summary },
      toFirstSound: { heard: soundHeard.summary, spoken: soundSpoken.summary },
      bargeInToSilence: bargeIn.summary,
      bufferDepthMs: this.#bufferDepthMs,
      roundTrip: roundTrip.summary,
    };
  }
}

interface Turn {
  readonly heardAt: number;
  readonly spokenAt: number | null;
  byte: boolean;
}

class Series {
  #values: number[] = [];
  #summary: Measurements | null = null;

  add(value: number): void {
    this.#values = [...this.#values, value].slice(-KEPT);
    const sorted = [...this.#values].sort((a, b) => a - b);
    this.#summary = {
      count: sorted.length,
      last: value,
      p50: percentile(sorted, 0.5),
      p95: percentile(sorted, 0.95),
    };
  }

  get summary(): Measurements | null {
    return this.#summary;
  }
}

/** Nearest rank: a value that was measured, never one between two. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}
