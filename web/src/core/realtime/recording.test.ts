import { expect, it } from 'vitest';

import { Recording } from './recording';

it('keeps each side as a WAV file, independent of the buffers it was given', () => {
  const recording = new Recording();
  const samples = Int16Array.of(1, 2);
  recording.add('user', samples);
  samples.fill(0);
  recording.add('user', Int16Array.of(3));
  const file = recording.wav('user');
  const view = new DataView(file?.buffer ?? new ArrayBuffer(0));
  expect([44, 46, 48].map((offset) => view.getInt16(offset, true))).toEqual([1, 2, 3]);
  expect(recording.wav('assistant')).toBeNull();
});

it('ends after ten minutes', () => {
  const recording = new Recording();
  for (let minute = 0; minute < 12; minute += 1) recording.add('assistant', new Int16Array(60 * 24_000));
  expect(recording.wav('assistant')?.length).toBe(44 + 10 * 60 * 24_000 * 2);
});
