import { describe, expect, it } from 'vitest';

import { JitterTarget } from './jitter';

describe('JitterTarget', () => {
  it('starts at 120 ms', () => {
    expect(new JitterTarget().targetMs).toBe(120);
  });

  it('grows by half with each underrun, up to 600 ms', () => {
    const target = new JitterTarget();
    const grown = [1, 2, 3, 4, 5].map((now) => {
      target.underran(now);
      return target.targetMs;
    });
    expect(grown).toEqual([180, 270, 405, 600, 600]);
  });

  it('shrinks by a fifth after 20 s without one, down to 80 ms', () => {
    const target = new JitterTarget();
    target.passed(19_999);
    expect(target.targetMs).toBe(120);
    const shrunk = [20_000, 40_000, 60_000, 80_000].map((now) => {
      target.passed(now);
      return target.targetMs;
    });
    expect(shrunk).toEqual([96, 80, 80, 80]);
  });

  it('counts the 20 s from the last underrun', () => {
    const target = new JitterTarget();
    target.underran(15_000);
    target.passed(20_000);
    expect(target.targetMs).toBe(180);
    target.passed(35_000);
    expect(target.targetMs).toBe(144);
  });
});
