import { expect, it } from 'vitest';

import { lanesOf, readStereo } from './waveform';

/** A second of sound at 100 samples: the left is loud in its first half, the right is silent. */
function wav(channels = 2): ArrayBuffer {
  const frames = 100;
  const file = new DataView(new ArrayBuffer(44 + frames * 2 * channels));
  const text = (at: number, said: string): void =>
    [...said].forEach((letter, index) => file.setUint8(at + index, letter.charCodeAt(0)));
  text(0, 'RIFF');
  text(8, 'WAVEfmt ');
  file.setUint32(16, 16, true);
  file.setUint16(20, 1, true);
  file.setUint16(22, channels, true);
  file.setUint32(24, 100, true);
  file.setUint16(34, 16, true);
  text(36, 'data');
  file.setUint32(40, frames * 2 * channels, true);
  for (let frame = 0; frame < frames / 2; frame += 1) file.setInt16(44 + frame * 2 * channels, 16384, true);
  return file.buffer;
}

it('tells two voices apart, and for how long each is heard', () => {
  const sound = readStereo(wav());
  expect(sound?.seconds).toBe(1);
  const [user, assistant] = lanesOf(sound!, 4);
  expect(user).toEqual({ peaks: [0.5, 0.5, 0, 0], seconds: 0.5 });
  expect(assistant).toEqual({ peaks: [0, 0, 0, 0], seconds: 0 });
});

it('reads nothing from what is no such file, however it is cut', () => {
  expect(readStereo(wav(1))).toBeNull();
  expect(readStereo(new ArrayBuffer(3))).toBeNull();
  const whole = wav();
  for (let length = 0; length < 44; length += 1) expect(readStereo(whole.slice(0, length))).toBeNull();
  expect(readStereo(whole.slice(0, 244))?.seconds).toBe(0.5);
});
