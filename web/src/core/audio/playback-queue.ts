/**
 * What is heard: audio queued per item of the conversation, started once enough has gathered, ended without a click.
 * Pure; its clock is the number of samples it was asked for.
 */

import { JitterTarget } from './jitter';
import { toFloat32, WIRE_RATE } from './pcm';
import { Resampler } from './resample';

export const RAMP_MS = 5;
const CAP_MS = 120_000;

export type PlaybackEvent =
  /** The first sample of an item was rendered. */
  | { readonly kind: 'started'; readonly item: string }
  /** The queue ran dry in the middle of an item. */
  | { readonly kind: 'underrun'; readonly item: string; readonly targetMs: number }
  /** Everything that was queued and finished has been played. */
  | { readonly kind: 'idle'; readonly item: string; readonly playedMs: number };

/** What a flush cut off. `item` is the one that was being played, or the next one; null when nothing was queued. */
export interface Flushed {
  readonly item: string | null;
  readonly playedMs: number;
  readonly droppedMs: number;
}

export interface PlaybackState {
  readonly item: string | null;
  /** How much of that item was played. */
  readonly playedMs: number;
  readonly depthMs: number;
  readonly targetMs: number;
  readonly underruns: number;
}

/** Audio at the wire's rate. It is resampled as it is played, so that a long burst costs the audio thread nothing. */
interface Chunk {
  readonly item: string;
  readonly samples: Int16Array;
  offset: number;
}

/** Wire samples that are resampled at once: 10 ms. */
const BLOCK = 240;
const NOTHING = new Float32Array(0);

export class PlaybackQueue {
  readonly #rate: number;
  readonly #ramp: number;
  readonly #resampler: Resampler;
  readonly #target = new JitterTarget();
  readonly #finished = new Set<string>();
  #chunks: Chunk[] = [];
  #waiting = 0;
  /** Resampled and not yet played, and the item it belongs to. */
  #ready: Float32Array = NOTHING;
  #readyItem: string | null = null;
  /** The item whose last samples are still in the resampler. */
  #inFilter: string | null = null;
  #item: string | null = null;
  #played = 0;
  #playing = false;
  /** Samples rendered since audio began to gather. */
  #gathered = 0;
  #clock = 0;
  #underruns = 0;
  #gain = 0;
  #last = 0;
  #tail: Float32Array = NOTHING;

  /** `rate` is the output device's. */
  constructor(rate: number) {
    this.#rate = rate;
    this.#ramp = Math.max(1, Math.round((rate * RAMP_MS) / 1000));
    this.#resampler = new Resampler(WIRE_RATE, rate);
  }

  get state(): PlaybackState {
    return {
      item: this.#item,
      playedMs: this.#ms(this.#played),
      depthMs: this.#depthMs,
      targetMs: this.#target.targetMs,
      underruns: this.#underruns,
    };
  }

  /** Queue audio of an item at the wire's rate. Beyond two minutes of it, more is dropped. */
  push(item: string, samples: Int16Array): void {
    const room = (CAP_MS * WIRE_RATE) / 1000 - this.#waiting;
    const kept = samples.subarray(0, Math.max(0, room));
    this.#finished.delete(item);
    if (kept.length === 0) return;
    this.#chunks.push({ item, samples: kept, offset: 0 });
    this.#waiting += kept.length;
  }

  /** No more audio of this item will come: running dry after it is its end and not an underrun. */
  finish(item: string): void {
    this.#finished.add(item);
  }

  /** Drop everything. What is audible fades out within `RAMP_MS`. */
  flush(): Flushed {
    const item = this.#item ?? this.#chunks[0]?.item ?? null;
    const flushed = { item, playedMs: this.#ms(this.#played), droppedMs: this.#depthMs };
    if (this.#playing) this.#tail = this.#fadeOut();
    this.#chunks = [];
    this.#waiting = 0;
    this.#resampler.reset();
    this.#ready = NOTHING;
    this.#readyItem = null;
    this.#inFilter = null;
    this.#finished.clear();
    this.#stop();
    this.#forgetItem();
    return flushed;
  }

  /** Fill `output` with what is to be heard next; return what happened on the way. */
  render(output: Float32Array): PlaybackEvent[] {
    const events: PlaybackEvent[] = [];
    output.fill(0);
    this.#clock += output.length;
    this.#target.passed(this.#ms(this.#clock));
    this.#placeTail(output, 0);
    if (!this.#playing) this.#startIfEnough(output.length, events);
    if (this.#playing) this.#play(output, events);
    return events;
  }

  get #depthMs(): number {
    return (this.#waiting / WIRE_RATE) * 1000 + this.#ms(this.#ready.length);
  }

  #startIfEnough(length: number, events: PlaybackEvent[]): void {
    if (this.#waiting === 0) {
      this.#endIfFinished(events);
      return;
    }
    // A short answer never reaches the target; it starts when it is whole, or when it has been waited for long enough.
    const whole = this.#finished.has(this.#chunks.at(-1)?.item ?? '');
    const target = this.#target.targetMs;
    // More than the target: what came last has to be whole before it counts, so that audio at real time may be late by
    // as much as the target promises.
    if (this.#depthMs > target || whole || this.#ms(this.#gathered) >= target) {
      this.#playing = true;
      this.#gain = 0;
      this.#gathered = 0;
    } else {
      this.#gathered += length;
    }
  }

  #play(output: Float32Array, events: PlaybackEvent[]): void {
    let written = 0;
    while (written < output.length) {
      if (!this.#refill()) {
        this.#ranDry(output, written, events);
        return;
      }
      if (this.#readyItem !== null && this.#readyItem !== this.#item) this.#begin(this.#readyItem, events);
      const count = Math.min(output.length - written, this.#ready.length);
      for (let index = 0; index < count; index += 1) {
        this.#gain = Math.min(1, this.#gain + 1 / this.#ramp);
        this.#last = (this.#ready[index] ?? 0) * this.#gain;
        output[written + index] = (output[written + index] ?? 0) + this.#last;
      }
      this.#ready = this.#ready.subarray(count);
      this.#played += count;
      written += count;
    }
  }

  /** See to it that there is something to play; false when the queue is dry. */
  #refill(): boolean {
    while (this.#ready.length === 0) {
      const chunk = this.#chunks[0];
      if (this.#inFilter !== null && this.#hasEnded(this.#inFilter, chunk)) {
        this.#ready = this.#resampler.flush();
        this.#inFilter = null;
      } else if (chunk) {
        this.#resampleBlock(chunk);
      } else {
        return false;
      }
    }
    return true;
  }

  #hasEnded(item: string, next: Chunk | undefined): boolean {
    return next ? next.item !== item : this.#finished.has(item);
  }

  #resampleBlock(chunk: Chunk): void {
    const block = chunk.samples.subarray(chunk.offset, chunk.offset + BLOCK);
    chunk.offset += block.length;
    this.#waiting -= block.length;
    if (chunk.offset === chunk.samples.length) this.#chunks.shift();
    this.#inFilter = chunk.item;
    this.#readyItem = chunk.item;
    this.#ready = this.#resampler.process(toFloat32(block));
  }

  #begin(item: string, events: PlaybackEvent[]): void {
    if (this.#item !== null) this.#finished.delete(this.#item);
    this.#item = item;
    this.#played = 0;
    events.push({ kind: 'started', item });
  }

  #ranDry(output: Float32Array, from: number, events: PlaybackEvent[]): void {
    this.#tail = this.#decay();
    this.#placeTail(output, from);
    this.#stop();
    if (this.#endIfFinished(events) || this.#item === null) return;
    this.#underruns += 1;
    this.#target.underran(this.#ms(this.#clock));
    events.push({ kind: 'underrun', item: this.#item, targetMs: this.#target.targetMs });
  }

  #endIfFinished(events: PlaybackEvent[]): boolean {
    const item = this.#item;
    if (item === null || !this.#finished.delete(item)) return false;
    events.push({ kind: 'idle', item, playedMs: this.#ms(this.#played) });
    this.#resampler.reset();
    this.#inFilter = null;
    this.#forgetItem();
    return true;
  }

  #forgetItem(): void {
    this.#item = null;
    this.#played = 0;
  }

  #stop(): void {
    this.#playing = false;
    this.#gathered = 0;
    this.#last = 0;
  }

  /** What would have come next, fading. */
  #fadeOut(): Float32Array {
    const tail = new Float32Array(this.#ramp);
    for (let written = 0; written < tail.length && this.#refill();) {
      const count = Math.min(tail.length - written, this.#ready.length);
      for (let index = written; index < written + count; index += 1) {
        tail[index] = (this.#ready[index - written] ?? 0) * this.#gain * (1 - (index + 1) / tail.length);
      }
      this.#ready = this.#ready.subarray(count);
      written += count;
    }
    return tail;
  }

  /** From the last sample down to nothing, where there is no next one. */
  #decay(): Float32Array {
    return Float32Array.from(
      { length: this.#ramp },
      (_, index) => this.#last * (1 - (index + 1) / this.#ramp),
    );
  }

  #placeTail(output: Float32Array, from: number): void {
    const count = Math.min(this.#tail.length, output.length - from);
    for (let index = 0; index < count; index += 1) {
      output[from + index] = (output[from + index] ?? 0) + (this.#tail[index] ?? 0);
    }
    this.#tail = this.#tail.subarray(count);
  }

  #ms(samples: number): number {
    return (samples / this.#rate) * 1000;
  }
}
