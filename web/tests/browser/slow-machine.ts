/**
 * A machine of one speed, whatever the one that the tests run on: docs/decisions/0015-how-slow-a-slow-machine-is.md.
 */
import type { CDPSession, Page } from '@playwright/test';

/** A quarter of a quick desktop's 2000, in the unit of `speed`. */
const SLOW = 500;

/** Has a page run as on a slow machine from now on. Returns by how much it was slowed down. */
export async function slowDown(page: Page, devtools: CDPSession): Promise<number> {
  await page.evaluate(speed); // the first run is compiled while it runs
  // What a quick machine does for a moment it does not do for long.
  const rate = Math.min(4, Math.max(1, (await page.evaluate(speed)) / SLOW));
  await devtools.send('Emulation.setCPUThrottlingRate', { rate });
  return rate;
}

/** In tens of rounds a second: the mean of one kind that makes garbage, and of one that makes none. */
function speed(): number {
  const MS = 200;
  const roundsOf = (round: (number: number) => unknown): number => {
    const began = performance.now();
    let rounds = 0;
    let made: unknown;
    while (performance.now() - began < MS) made = round(rounds++);
    return made === undefined ? 0 : rounds / (10 * (MS / 1000));
  };
  const garbage = roundsOf(() => {
    let text = '';
    for (let length = 0; length < 10_000; length++) text += 'a';
    return text;
  });
  const numbers = [0, 1].map(() => Array.from({ length: 100_000 }, (_, number) => number));
  const none = roundsOf((number) => {
    const [from = [], to = []] = number % 2 ? numbers : numbers.toReversed();
    for (let at = 0; at < from.length; at++) to[at] = from[at] ?? 0;
    return to;
  });
  return (garbage + none) / 2;
}
