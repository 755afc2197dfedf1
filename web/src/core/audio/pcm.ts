/** Samples as the realtime API carries them: 16-bit little-endian mono at 24 kHz, in base64. */

export const WIRE_RATE = 24_000;
export const BYTES_PER_SAMPLE = 2;

/** The quietest level that is told apart from silence, in dBFS. */
export const SILENCE_DBFS = -100;

export interface Level {
  /** Root mean square, in dBFS. */
  readonly rms: number;
  /** Largest absolute sample, in dBFS. */
  readonly peak: number;
}

export const SILENT: Level = { rms: SILENCE_DBFS, peak: SILENCE_DBFS };

export function toInt16(samples: Float32Array): Int16Array<ArrayBuffer> {
  const converted = new Int16Array(samples.length);
  for (let index = 0; index < samples.length; index += 1) {
    const clipped = Math.max(-1, Math.min(1, samples[index] ?? 0));
    converted[index] = Math.round(clipped * (clipped < 0 ? 32_768 : 32_767));
  }
  return converted;
}

export function toFloat32(samples: Int16Array): Float32Array<ArrayBuffer> {
  const converted = new Float32Array(samples.length);
  for (let index = 0; index < samples.length; index += 1) converted[index] = (samples[index] ?? 0) / 32_768;
  return converted;
}

/** Encode samples. Typed arrays are little-endian on every platform that runs a browser. */
export function encodeBase64(samples: Int16Array<ArrayBuffer>): string {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  if (canEncode(bytes)) return bytes.toBase64();
  let binary = '';
  for (let start = 0; start < bytes.length; start += ARGUMENT_LIMIT) {
    binary += String.fromCharCode(...bytes.subarray(start, start + ARGUMENT_LIMIT));
  }
  return btoa(binary);
}

/** Decode samples; an odd last byte is dropped. Throws `SyntaxError` or `DOMException` when it is no base64. */
export function decodeBase64(text: string): Int16Array<ArrayBuffer> {
  const bytes = bytesOf(text);
  const samples = Math.floor(bytes.byteLength / BYTES_PER_SAMPLE);
  return new Int16Array(bytes.buffer, 0, samples);
}

/** How long the audio in a base64 text is, in milliseconds at the wire's rate, without decoding it. */
export function durationOfBase64(text: string): number {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = Math.floor((text.length * 3) / 4) - padding;
  return (Math.floor(bytes / BYTES_PER_SAMPLE) / WIRE_RATE) * 1000;
}

export function levelOf(samples: Float32Array): Level {
  if (samples.length === 0) return SILENT;
  let energy = 0;
  let peak = 0;
  for (const sample of samples) {
    energy += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  return { rms: dbfs(Math.sqrt(energy / samples.length)), peak: dbfs(peak) };
}

export function dbfs(amplitude: number): number {
  return amplitude <= 0 ? SILENCE_DBFS : Math.max(SILENCE_DBFS, 20 * Math.log10(amplitude));
}

// More arguments than this overflow the stack of some engines.
const ARGUMENT_LIMIT = 32_768;

interface Base64Encoding {
  toBase64(): string;
}

interface Base64Decoding {
  fromBase64(text: string): Uint8Array<ArrayBuffer>;
}

function canEncode(bytes: object): bytes is Base64Encoding {
  return 'toBase64' in bytes;
}

function canDecode(constructor: object): constructor is Base64Decoding {
  return 'fromBase64' in constructor;
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const constructor: object = Uint8Array;
  if (canDecode(constructor)) return constructor.fromBase64(text);
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
