import { expect, it } from 'vitest';

import { encodeWav } from './wav';

it('writes a mono 16-bit WAV file', () => {
  const file = encodeWav(Int16Array.of(1, -2, 3));
  const view = new DataView(file.buffer);
  const text = (offset: number) => String.fromCharCode(...file.subarray(offset, offset + 4));
  expect([text(0), text(8), text(12), text(36)]).toEqual(['RIFF', 'WAVE', 'fmt ', 'data']);
  expect(view.getUint32(4, true)).toBe(file.length - 8);
  expect([view.getUint16(20, true), view.getUint16(22, true)]).toEqual([1, 1]);
  expect([view.getUint32(24, true), view.getUint32(28, true)]).toEqual([24_000, 48_000]);
  expect([view.getUint16(32, true), view.getUint16(34, true)]).toEqual([2, 16]);
  expect(view.getUint32(40, true)).toBe(6);
  expect([44, 46, 48].map((offset) => view.getInt16(offset, true))).toEqual([1, -2, 3]);
});
