/** The pure heart of the capture worklet: device samples in, frames of the wire's format out. */

import { levelOf, toInt16, WIRE_RATE, type Level } from './pcm';
import { Resampler } from './resample';

/** Shorter frames are heard a little sooner and cost twice the messages. */
export type FrameMs = 20 | 40;
export const USUAL_FRAME_MS: FrameMs = 40;

export interface CapturedFrame {
  /** One frame of 16-bit samples at the wire's rate. */
  readonly samples: Int16Array<ArrayBuffer>;
  readonly level: Level;
}

export class FrameCutter {
  readonly #resampler: Resampler;
  readonly #frame: Float32Array;
  #filled = 0;
  /** While set, frames keep coming and hold silence: the other side still sees time pass. */
  silenced = false;

  constructor(deviceRate: number, frameMs: FrameMs = USUAL_FRAME_MS) {
    this.#frame = new Float32Array((WIRE_RATE * frameMs) / 1000);
    this.#resampler = new Resampler(deviceRate, WIRE_RATE);
  }

  /** Take one block of samples per channel, all of the same length; return the frames it completes. */
  push(channels: readonly Float32Array[]): CapturedFrame[] {
    const frames: CapturedFrame[] = [];
    const samples = this.#resampler.process(mono(channels));
    for (let taken = 0; taken < samples.length;) {
      const count = Math.min(samples.length - taken, this.#frame.length - this.#filled);
      this.#frame.set(samples.subarray(taken, taken + count), this.#filled);
      taken += count;
      this.#filled += count;
      if (this.#filled === this.#frame.length) frames.push(this.#cut());
    }
    return frames;
  }

  #cut(): CapturedFrame {
    this.#filled = 0;
    if (this.silenced) this.#frame.fill(0);
    return { samples: toInt16(this.#frame), level: levelOf(this.#frame) };
  }
}

function mono(channels: readonly Float32Array[]): Float32Array {
  const [first, ...others] = channels;
  if (!first) return new Float32Array(0);
  if (others.length === 0) return first;
  return first.map(
    (sample, index) => others.reduce((sum, channel) => sum + (channel[index] ?? 0), sample) / channels.length,
  );
}
