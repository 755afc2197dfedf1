import { describe, expect, it } from 'vitest';

import { FrameCutter } from './framing';

function frames(cutter: FrameCutter, blocks: number, channels: (block: number) => Float32Array[]) {
  return Array.from({ length: blocks }, (_, block) => cutter.push(channels(block))).flat();
}

const loud = (value: number) => new Float32Array(128).fill(value);

describe('FrameCutter', () => {
  it.each([44_100, 48_000, 96_000, 24_000])('cuts %i Hz into frames of 40 ms', (rate) => {
    const cut = frames(new FrameCutter(rate), Math.ceil(rate / 128), () => [loud(0.5)]);
    expect(cut.length).toBeGreaterThanOrEqual(24);
    expect(cut.length).toBeLessThanOrEqual(25);
    expect(cut.every(({ samples }) => samples.length === 960)).toBe(true);
  });

  it.each([20, 40] as const)('makes as many frames of %i ms as the time holds, at any rate', (frameMs) => {
    for (const rate of [16_000, 44_100, 48_000]) {
      const blocks = Math.round((10 * rate) / 128);
      const cut = frames(new FrameCutter(rate, frameMs), blocks, () => [loud(0.5)]);
      const expected = (blocks * 128 * 1000) / rate / frameMs;
      expect(Math.abs(cut.length - expected)).toBeLessThanOrEqual(1);
      expect(cut[0]?.samples.length).toBe(frameMs * 24);
    }
  });

  it('says how loud a frame is', () => {
    const [, second] = frames(new FrameCutter(24_000), 20, () => [loud(0.5)]);
    expect(second?.level.rms).toBeCloseTo(-6.02, 1);
  });

  it('mixes all channels into one', () => {
    const [frame] = frames(new FrameCutter(24_000), 8, () => [loud(0.5), loud(-0.5)]);
    expect(frame?.samples.every((sample) => sample === 0)).toBe(true);
  });

  it('goes on in time while it is silenced', () => {
    const cutter = new FrameCutter(24_000);
    cutter.silenced = true;
    const [frame, ...others] = frames(cutter, 30, () => [loud(0.5)]);
    expect(others).toHaveLength(3);
    expect(frame?.samples.every((sample) => sample === 0)).toBe(true);
    expect(frame?.level.peak).toBe(-100);
  });

  it('waits while the microphone gives nothing', () => {
    expect(frames(new FrameCutter(48_000), 100, () => [])).toEqual([]);
  });
});
