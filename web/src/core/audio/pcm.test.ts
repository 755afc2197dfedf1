import { afterEach, describe, expect, it, vi } from 'vitest';

import {
  dbfs,
  decodeBase64,
  durationOfBase64,
  encodeBase64,
  levelOf,
  SILENCE_DBFS,
  toFloat32,
  toInt16,
} from './pcm';

describe('samples', () => {
  it('survive the way to 16 bits and back within half a step', () => {
    const samples = Float32Array.from({ length: 1000 }, (_, index) => Math.sin(index));
    const back = toFloat32(toInt16(samples));
    expect(Math.max(...samples.map((sample, index) => Math.abs(sample - (back[index] ?? 9))))).toBeLessThan(
      5e-5,
    );
  });

  it('are clipped, not wrapped around', () => {
    expect([...toInt16(Float32Array.of(-2, -1, 0, 1, 2))]).toEqual([-32_768, -32_768, 0, 32_767, 32_767]);
  });
});

describe('base64', () => {
  const samples = Int16Array.from({ length: 40_000 }, (_, index) => ((index * 7919) % 65_536) - 32_768);

  it('is little-endian', () => {
    expect(encodeBase64(Int16Array.of(1, -2))).toBe(btoa('\x01\x00\xfe\xff'));
  });

  it('carries samples there and back', () => {
    expect(decodeBase64(encodeBase64(samples))).toEqual(samples);
  });

  it('encodes a part of a larger buffer as that part', () => {
    expect(encodeBase64(samples.subarray(3, 5))).toBe(encodeBase64(samples.slice(3, 5)));
  });

  it('drops an odd last byte', () => {
    expect([...decodeBase64(btoa('\x01\x00\x02'))]).toEqual([1]);
  });

  it('refuses what is none', () => {
    expect(() => decodeBase64('***')).toThrow();
  });

  it.each([0, 1, 2, 3, 960])('tells the duration of %i samples without decoding them', (count) => {
    expect(durationOfBase64(encodeBase64(new Int16Array(count)))).toBeCloseTo(count / 24, 6);
  });

  describe("with the browser's own methods", () => {
    afterEach(() => vi.restoreAllMocks());

    it('uses them where they exist', () => {
      const toBase64 = vi.fn(() => 'encoded');
      Object.defineProperty(Uint8Array.prototype, 'toBase64', { value: toBase64, configurable: true });
      try {
        expect(encodeBase64(samples)).toBe('encoded');
      } finally {
        Reflect.deleteProperty(Uint8Array.prototype, 'toBase64');
      }
    });
  });
});

describe('levels', () => {
  it('are 0 dBFS at full scale and the floor at silence', () => {
    expect(levelOf(Float32Array.of(1, -1, 1, -1))).toEqual({ rms: 0, peak: 0 });
    expect(levelOf(new Float32Array(10))).toEqual({ rms: SILENCE_DBFS, peak: SILENCE_DBFS });
    expect(levelOf(new Float32Array(0))).toEqual({ rms: SILENCE_DBFS, peak: SILENCE_DBFS });
  });

  it('fall by 6 dB with half the amplitude', () => {
    expect(dbfs(0.5)).toBeCloseTo(-6.02, 2);
  });

  it('tell the energy from the peak', () => {
    const { rms, peak } = levelOf(Float32Array.of(1, 0, 0, 0));
    expect(peak).toBe(0);
    expect(rms).toBeCloseTo(-6.02, 2);
  });
});
