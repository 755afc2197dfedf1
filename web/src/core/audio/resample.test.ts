import { describe, expect, it } from 'vitest';

import { Resampler } from './resample';

function tone(frequency: number, rate: number, seconds: number): Float32Array {
  return Float32Array.from({ length: Math.round(rate * seconds) }, (_, index) =>
    Math.sin((2 * Math.PI * frequency * index) / rate),
  );
}

function resampled(input: Float32Array, from: number, to: number, block = input.length): Float32Array {
  const resampler = new Resampler(from, to);
  const pieces: number[] = [];
  for (let start = 0; start < input.length; start += block) {
    pieces.push(...resampler.process(input.subarray(start, start + block)));
  }
  pieces.push(...resampler.flush());
  return Float32Array.from(pieces);
}

function energy(samples: Float32Array): number {
  return samples.reduce((sum, sample) => sum + sample * sample, 0);
}

/** The power of a tone over that of everything else in the middle of the output, in dB. */
function signalToNoise(output: Float32Array, frequency: number, rate: number): number {
  const middle = output.subarray(Math.round(output.length * 0.1), Math.round(output.length * 0.9));
  const expected = tone(frequency, rate, output.length / rate).subarray(
    Math.round(output.length * 0.1),
    Math.round(output.length * 0.9),
  );
  const noise = middle.map((sample, index) => sample - (expected[index] ?? 0));
  return 10 * Math.log10(energy(expected) / energy(noise));
}

describe('Resampler', () => {
  it.each([
    [44_100, 24_000],
    [48_000, 24_000],
    [96_000, 24_000],
    [24_000, 44_100],
    [24_000, 48_000],
    [44_056, 24_000],
  ])('keeps tones of speech clean and in place from %i to %i Hz', (from, to) => {
    for (const frequency of [300, 1000, 3400, 7000]) {
      expect(signalToNoise(resampled(tone(frequency, from, 0.5), from, to), frequency, to)).toBeGreaterThan(
        75,
      );
    }
  });

  it.each([8000, 16_000])('keeps the band that %i Hz has', (from) => {
    const output = resampled(tone(from * 0.2, from, 0.5), from, 24_000);
    expect(signalToNoise(output, from * 0.2, 24_000)).toBeGreaterThan(75);
  });

  it('removes what the lower rate cannot carry', () => {
    const rejection = (frequency: number) => {
      const output = resampled(tone(frequency, 48_000, 0.5), 48_000, 24_000).subarray(1000, 11_000);
      return 10 * Math.log10(energy(output) / output.length / 0.5);
    };
    expect(rejection(13_500)).toBeLessThan(-50);
    expect(rejection(15_000)).toBeLessThan(-70);
    expect(rejection(20_000)).toBeLessThan(-70);
  });

  it.each([
    [44_100, 24_000],
    [24_000, 44_100],
    [48_000, 24_000],
    [192_000, 24_000],
  ])('gives the same samples however the input is cut (%i to %i Hz)', (from, to) => {
    const input = tone(440, from, 0.1);
    const whole = resampled(input, from, to);
    for (const block of [1, 7, 128, 1000]) expect(resampled(input, from, to, block)).toEqual(whole);
  });

  it.each([
    [44_100, 24_000],
    [24_000, 44_100],
    [16_000, 24_000],
    [48_000, 24_000],
  ])('gives as many samples as the duration asks for (%i to %i Hz)', (from, to) => {
    const output = resampled(tone(440, from, 1), from, to);
    expect(Math.abs(output.length - to)).toBeLessThanOrEqual(1);
  });

  it('passes a constant unchanged', () => {
    const output = resampled(new Float32Array(4410).fill(0.5), 44_100, 24_000);
    const middle = output.subarray(200, output.length - 200);
    expect(Math.max(...middle.map((sample) => Math.abs(sample - 0.5)))).toBeLessThan(1e-4);
  });

  it('leaves equal rates alone', () => {
    const input = tone(440, 24_000, 0.01);
    expect(resampled(input, 24_000, 24_000)).toEqual(input);
  });

  it('begins anew after a flush', () => {
    const resampler = new Resampler(48_000, 24_000);
    const input = tone(440, 48_000, 0.05);
    const first = [...resampler.process(input), ...resampler.flush()];
    expect([...resampler.process(input), ...resampler.flush()]).toEqual(first);
  });
});
