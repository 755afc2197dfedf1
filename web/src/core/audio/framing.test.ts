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
