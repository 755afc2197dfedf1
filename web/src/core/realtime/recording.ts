/** What was said and heard, kept for export while the user wants it. */

import { WIRE_RATE } from '../audio/pcm';
import { encodeWav } from '../audio/wav';

export type RecordedSide = 'user' | 'assistant';

const LONGEST_SAMPLES = 10 * 60 * WIRE_RATE;

export class Recording {
  readonly #sides: Readonly<Record<RecordedSide, Track>> = { user: new Track(), assistant: new Track() };

  add(side: RecordedSide, samples: Int16Array): void {
    this.#sides[side].add(samples);
  }

  has(side: RecordedSide): boolean {
    return this.#sides[side].length > 0;
  }

  /** A WAV file of up to ten minutes, or null when this side has nothing. */
  wav(side: RecordedSide): Uint8Array<ArrayBuffer> | null {
    return this.#sides[side].wav();
  }
}

class Track {
  readonly #pieces: Int16Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(samples: Int16Array): void {
    if (this.#length + samples.length > LONGEST_SAMPLES) return;
    this.#pieces.push(samples.slice()); // the caller's buffer moves on to the audio thread
    this.#length += samples.length;
  }

  wav(): Uint8Array<ArrayBuffer> | null {
    if (this.#length === 0) return null;
    const whole = new Int16Array(this.#length);
    let offset = 0;
    for (const piece of this.#pieces) {
      whole.set(piece, offset);
      offset += piece.length;
    }
    return encodeWav(whole);
  }
}
