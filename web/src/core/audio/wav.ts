/** WAV files, for what is exported from the event log. */

import { BYTES_PER_SAMPLE, WIRE_RATE } from './pcm';

const HEADER_BYTES = 44;
const PCM = 1;

/** Return a mono 16-bit WAV file. */
export function encodeWav(samples: Int16Array, rate: number = WIRE_RATE): Uint8Array<ArrayBuffer> {
  const dataBytes = samples.length * BYTES_PER_SAMPLE;
  const file = new DataView(new ArrayBuffer(HEADER_BYTES + dataBytes));
  writeText(file, 0, 'RIFF');
  file.setUint32(4, HEADER_BYTES - 8 + dataBytes, true);
  writeText(file, 8, 'WAVEfmt ');
  file.setUint32(16, 16, true); // length of the format chunk
  file.setUint16(20, PCM, true);
  file.setUint16(22, 1, true); // channels
  file.setUint32(24, rate, true);
  file.setUint32(28, rate * BYTES_PER_SAMPLE, true);
  file.setUint16(32, BYTES_PER_SAMPLE, true);
  file.setUint16(34, BYTES_PER_SAMPLE * 8, true);
  writeText(file, 36, 'data');
  file.setUint32(40, dataBytes, true);
  samples.forEach((sample, index) => file.setInt16(HEADER_BYTES + index * BYTES_PER_SAMPLE, sample, true));
  return new Uint8Array(file.buffer);
}

function writeText(file: DataView, offset: number, text: string): void {
  for (let index = 0; index < text.length; index += 1) file.setUint8(offset + index, text.charCodeAt(index));
}
