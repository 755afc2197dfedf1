/** A piece of speech that is said more than once, as the wire carries it. */

import { AudioEngine } from './engine';
import { toInt16, WIRE_RATE } from './pcm';
import type { MicrophoneProblem } from './port';

export const LONGEST_CLIP_MS = 15_000;
const LONGEST = (LONGEST_CLIP_MS * WIRE_RATE) / 1000;

export type Clip = Int16Array<ArrayBuffer>;

/** Read a sound file of any kind the browser knows; what is beyond 15 s is left out. Rejects when it is none. */
export async function decodeClip(file: ArrayBuffer): Promise<Clip> {
  // Decoding brings it to the rate of the context.
  const sound = await new OfflineAudioContext(1, 1, WIRE_RATE).decodeAudioData(file);
  const mixed = new Float32Array(Math.min(sound.length, LONGEST));
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    const samples = sound.getChannelData(channel);
    for (let index = 0; index < mixed.length; index += 1) {
      mixed[index] = (mixed[index] ?? 0) + (samples[index] ?? 0) / sound.numberOfChannels;
    }
  }
  return toInt16(mixed);
}

export function clipMs(clip: Clip): number {
  return (clip.length / WIRE_RATE) * 1000;
}

/** Records the microphone until it is stopped, or for 15 s. */
export class ClipRecorder {
  readonly #engine = new AudioEngine();
  #pieces: Int16Array[] = [];
  #length = 0;

  /** `heard` is told how long the clip is by now, in milliseconds. Resolves to what stands in the way, or null. */
  async start(deviceId: string | undefined, heard: (ms: number) => void): Promise<MicrophoneProblem | null> {
    this.#engine.listen((event) => {
      if (event.kind !== 'frame' || this.#length >= LONGEST) return;
      this.#pieces.push(event.samples);
      this.#length += event.samples.length;
      heard((this.#length / WIRE_RATE) * 1000);
    });
    return (await this.#engine.open({ microphone: true, inputDeviceId: deviceId })).problem;
  }

  /** Let go of the microphone; null when nothing has come. */
  async stop(): Promise<Clip | null> {
    await this.#engine.close();
    if (this.#length === 0) return null;
    const clip = new Int16Array(this.#length);
    let offset = 0;
    for (const piece of this.#pieces) {
      clip.set(piece, offset);
      offset += piece.length;
    }
    this.#pieces = [];
    this.#length = 0;
    return clip;
  }
}
