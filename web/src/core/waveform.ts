/** A WAV with two voices, looked at: how loud each is over time. */

export interface Sound {
  readonly rate: number;
  readonly seconds: number;
  /** Samples of the left and the right channel, interleaved. */
  readonly samples: Int16Array;
}

export interface Lane {
  /** The greatest level in each of equal stretches of time, 0 to 1. */
  readonly peaks: readonly number[];
  /** How long there is anything to hear. */
  readonly seconds: number;
}

const SILENCE = 0.02;
/** Speech has gaps within words: it is judged by stretches as long as this. */
const JUDGED_SECONDS = 0.1;

/** Read a stereo WAV of 16-bit samples; null for anything else. */
export function readStereo(file: ArrayBuffer): Sound | null {
  const view = new DataView(file);
  const name = (at: number): string => String.fromCharCode(...new Uint8Array(file, at, 4));
  if (file.byteLength < 12 || name(0) !== 'RIFF' || name(8) !== 'WAVE') return null;
  let rate = 0;
  for (let at = 12; at + 8 <= file.byteLength;) {
    const size = view.getUint32(at + 4, true);
    const body = at + 8;
    if (name(at) === 'fmt ' && body + 16 <= file.byteLength) {
      const isStereo = view.getUint16(body + 2, true) === 2 && view.getUint16(body + 14, true) === 16;
      rate = isStereo && view.getUint16(body, true) === 1 ? view.getUint32(body + 4, true) : 0;
    } else if (name(at) === 'data' && rate > 0) {
      const frames = Math.floor(Math.min(size, file.byteLength - body) / 4);
      return { rate, seconds: frames / rate, samples: new Int16Array(file.slice(body, body + frames * 4)) };
    }
    at = body + size + (size % 2);
  }
  return null;
}

/** Return both lanes, the user's first, in so many stretches. */
export function lanesOf(sound: Sound, stretches: number): readonly [Lane, Lane] {
  return [laneOf(sound, 0, stretches), laneOf(sound, 1, stretches)];
}

function laneOf({ rate, samples }: Sound, channel: number, stretches: number): Lane {
  const frames = samples.length / 2;
  const peakOf = (from: number, to: number): number => {
    let peak = 0;
    for (let frame = from; frame < to; frame += 1) {
      const level = Math.abs(samples[2 * frame + channel] ?? 0);
      if (level > peak) peak = level;
    }
    return peak / 32768;
  };
  const edge = (index: number): number => Math.floor((index * frames) / stretches);
  const peaks = Array.from({ length: stretches }, (_, index) => peakOf(edge(index), edge(index + 1)));
  const step = Math.max(1, Math.round(rate * JUDGED_SECONDS));
  let heard = 0;
  for (let from = 0; from < frames; from += step) {
    if (peakOf(from, Math.min(from + step, frames)) > SILENCE) heard += Math.min(step, frames - from);
  }
  return { peaks, seconds: rate > 0 ? heard / rate : 0 };
}
