import { describe, expect, it } from 'vitest';

import { lengthText, levelOf, quotaOf, quotaText, secondsIn, unitOf } from './limits';

describe('limits', () => {
  it.each([
    ['90s', 90],
    ['30m', 1_800],
    ['1.5h', 5_400],
    ['7d', 604_800],
    ['45', 45],
    ['Month', 2_592_000],
    ['', null],
    ['0', null],
    ['soon', null],
    ['5y', null],
  ])('reads %s as a length of time', (text, seconds) => {
    expect(secondsIn(text)).toBe(seconds);
  });

  it('writes lengths in the largest unit that is whole', () => {
    expect([90, 1_800, 3_600, 86_400, 604_800, 5_400, 0.5].map(lengthText)).toEqual([
      '90s',
      '30m',
      '1h',
      '1d',
      '1w',
      '90m',
      '0.5s',
    ]);
  });

  it.each(['60/minute', '5/10m', '0.5/month', '0/day'])('reads and writes the quota %s', (text) => {
    const quota = quotaOf(text);
    expect(quota && quotaText(quota)).toBe(text);
  });

  it.each(['', '5', '/day', 'x/day', '5/', '5/never', '5/10m/2', '-1/day'])(
    'takes %s for no quota',
    (text) => {
      expect(quotaOf(text)).toBeNull();
    },
  );

  it('takes a comma for the point that it is in some languages', () => {
    expect(quotaOf('2,5/day')).toEqual({ limit: 2.5, seconds: 86_400 });
  });

  it('names common windows', () => {
    expect([60, 86_400, 600].map(unitOf)).toEqual(['minute', 'day', '10m']);
  });

  it('says when a limit is near and when it is reached', () => {
    expect([levelOf(7.9, 10), levelOf(8, 10), levelOf(10 - 1e-12, 10), levelOf(0, 0)]).toEqual([
      'fine',
      'near',
      'reached',
      'reached',
    ]);
  });
});
