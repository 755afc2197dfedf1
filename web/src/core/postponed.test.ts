import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Postponed } from './postponed';

const done: string[] = [];
const shown: (string | null)[] = [];
let postponed: Postponed<string>;

beforeEach(() => {
  vi.useFakeTimers();
  done.length = shown.length = 0;
  postponed = new Postponed<string>(
    (subject) => done.push(subject),
    (subject) => shown.push(subject),
    10_000,
  );
});
afterEach(() => vi.useRealTimers());

test('it is done when the time has passed, once, and not before', () => {
  postponed.later('a');
  vi.advanceTimersByTime(9_999);
  expect(done).toEqual([]);
  vi.advanceTimersByTime(60_000);
  postponed.now();
  expect(done).toEqual(['a']);
  expect(shown).toEqual(['a', null]);
});

test('what is taken back is never done', () => {
  postponed.later('a');
  postponed.undo();
  vi.advanceTimersByTime(60_000);
  postponed.now();
  expect(done).toEqual([]);
  expect(shown.at(-1)).toBeNull();
});

test('what comes next has what waited done at once, and waits its own time', () => {
  postponed.later('a');
  vi.advanceTimersByTime(9_000);
  postponed.later('b');
  expect(done).toEqual(['a']);
  vi.advanceTimersByTime(9_000);
  expect(done).toEqual(['a']);
  vi.advanceTimersByTime(1_000);
  expect(done).toEqual(['a', 'b']);
});
