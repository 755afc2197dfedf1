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

interface Chunk {
  readonly item: string;
  readonly samples: Float32Array;
  offset: number;
}

export class PlaybackQueue {
  readonly #rate: number;
  readonly #ramp: number;
  readonly #resampler: Resampler;
  readonly #target = new JitterTarget();
  readonly #finished = new Set<string>();
  #chunks: Chunk[] = [];
  #queued = 0;
  #item: string | null = null;
  #played = 0;
  /** The item whose samples are in the resampler. */
  #resampling: string | null = null;
  #playing = false;
  /** Samples rendered since audio began to gather. */
  #gathering = 0;
  #clock = 0;
  #underruns = 0;
  #gain = 0;
  #last = 0;
  #tail: Float32Array = new Float32Array(0);

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
      depthMs: this.#ms(this.#queued),
      targetMs: this.#target.targetMs,
      underruns: this.#underruns,
    };
  }

  /** Queue audio of an item at the wire's rate. Beyond two minutes of it, more is dropped. */
  push(item: string, samples: Int16Array): void {
    if (this.#resampling !== null && this.#resampling !== item) this.#drainResampler();
    this.#resampling = item;
    this.#finished.delete(item);
    this.#enqueue(item, this.#resampler.process(toFloat32(samples)));
  }

  /** No more audio of this item will come: running dry after it is its end and not an underrun. */
  finish(item: string): void {
    if (this.#resampling === item) this.#drainResampler();
    this.#finished.add(item);
  }

  /** Drop everything. What is audible fades out within `RAMP_MS`. */
  flush(): Flushed {
    const item = this.#item ?? this.#chunks[0]?.item ?? null;
    const flushed = { item, playedMs: this.#ms(this.#played), droppedMs: this.#ms(this.#queued) };
    if (this.#playing) this.#tail = this.#fadeOut();
    this.#chunks = [];
    this.#queued = 0;
    this.#resampler.reset();
    this.#resampling = null;
    this.#finished.clear();
    this.#stop();
    this.#item = null;
    this.#played = 0;
    return flushed;
  }

  /** Fill `output` with what is to be heard next; return what happened on the way. */
  render(output: Float32Array): PlaybackEvent[] {
    const events: PlaybackEvent[] = [];
    output.fill(0);
    this.#clock += output.length;
    this.#target.passed(this.#ms(this.#clock));
    if (!this.#playing) this.#startIfEnough(output.length);
    if (this.#playing) this.#play(output, events);
    this.#addTail(output);
    return events;
  }

  #enqueue(item: string, samples: Float32Array): void {
    const room = Math.round((this.#rate * CAP_MS) / 1000) - this.#queued;
    const kept = samples.slice(0, Math.max(0, room));
    if (kept.length === 0) return;
    this.#chunks.push({ item, samples: kept, offset: 0 });
    this.#queued += kept.length;
  }

  #drainResampler(): void {
    if (this.#resampling !== null) this.#enqueue(this.#resampling, this.#resampler.flush());
    this.#resampling = null;
  }

  #startIfEnough(length: number): void {
    if (this.#queued === 0) return;
    const target = (this.#target.targetMs * this.#rate) / 1000;
    // A short answer never reaches the target; it starts when it is whole, or when it has been waited for long enough.
    const whole = this.#finished.has(this.#chunks.at(-1)?.item ?? '');
    if (this.#queued >= target || whole || this.#gathering >= target) {
      this.#playing = true;
      this.#gain = 0;
      this.#gathering = 0;
    } else {
      this.#gathering += length;
    }
  }

  #play(output: Float32Array, events: PlaybackEvent[]): void {
    let written = 0;
    while (written < output.length) {
      const chunk = this.#chunks[0];
      if (!chunk) {
        this.#ranDry(output, written, events);
        return;
      }
      if (chunk.item !== this.#item) this.#begin(chunk.item, events);
      const count = Math.min(output.length - written, chunk.samples.length - chunk.offset);
      for (let index = 0; index < count; index += 1) {
        this.#gain = Math.min(1, this.#gain + 1 / this.#ramp);
        output[written + index] = chunk.samples[chunk.offset + index]! * this.#gain;
      }
      written += count;
      chunk.offset += count;
      this.#played += count;
      this.#queued -= count;
      this.#last = output[written - 1]!;
      if (chunk.offset === chunk.samples.length) this.#chunks.shift();
    }
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
    const item = this.#item;
    this.#stop();
    if (item === null) return;
    if (this.#finished.delete(item)) {
      events.push({ kind: 'idle', item, playedMs: this.#ms(this.#played) });
      this.#item = null;
      this.#played = 0;
    } else {
      this.#underruns += 1;
      this.#target.underran(this.#ms(this.#clock));
      events.push({ kind: 'underrun', item, targetMs: this.#target.targetMs });
    }
  }

  #stop(): void {
    this.#playing = false;
    this.#gathering = 0;
    this.#last = 0;
  }

  /** The next samples of the queue, fading. */
  #fadeOut(): Float32Array {
    const tail = this.#decay();
    let written = 0;
    for (const chunk of this.#chunks) {
      for (let index = chunk.offset; index < chunk.samples.length && written < tail.length; index += 1) {
        tail[written] = chunk.samples[index]! * this.#gain * (1 - (written + 1) / tail.length);
        written += 1;
      }
    }
    return tail;
  }

  /** From the last sample down to nothing, where there is no next one. */
  #decay(): Float32Array {
    return Float32Array.from({ length: this.#ramp }, (_, index) => this.#last * (1 - (index + 1) / this.#ramp));
  }

  #addTail(output: Float32Array): void {
    if (this.#tail.length > 0) this.#placeTail(output, 0);
  }

  #placeTail(output: Float32Array, from: number): void {
    const count = Math.min(this.#tail.length, output.length - from);
    for (let index = 0; index < count; index += 1) output[from + index] = output[from + index]! + this.#tail[index]!;
    this.#tail = this.#tail.subarray(count);
  }

  #ms(samples: number): number {
    return (samples / this.#rate) * 1000;
  }
}
