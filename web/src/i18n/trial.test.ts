import { describe, expect, it } from 'vitest';

import { en } from './en';
import { accented, rewritten } from './trial';

describe('the trial language', () => {
  it('has no plain letter outside of the places that are filled', () => {
    expect(accented('Account {account}, gateway {gateway}')).toMatch(
      /^[^a-z{]*\{account\}[^a-z{]*\{gateway\}$/i,
    );
    expect(
      accented('The quick brown fox jumps over the lazy dog, WALTZ, BAD NYMPH, FOR QUICK JIGS VEX'),
    ).not.toMatch(/[a-z]/i);
  });

  it('is longer than English by about as much as the longest translations are', () => {
    const english = JSON.stringify(Object.values(en.banners));
    expect(JSON.stringify(Object.values(rewritten(en.banners))).length / english.length).toBeGreaterThan(
      1.25,
    );
  });

  it('has the shape of the catalogue, and is the same object each time', () => {
    const shell = rewritten(en);
    expect(Object.keys(shell)).toEqual(Object.keys(en));
    expect(shell.pages.chat).toBe(accented('Chat'));
    expect(rewritten(en).pages).toBe(shell.pages);
    expect(rewritten(['one', { two: 'two' }])).toEqual([accented('one'), { two: accented('two') }]);
  });
});
