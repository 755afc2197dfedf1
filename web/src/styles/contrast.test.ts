/** WCAG 1.4.3 and 1.4.11 over the tokens: the pairs that stand on each other somewhere in the console. */
import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

const SHEET = readFileSync('src/styles/base.css', 'utf8');
const TOKENS = new Map(
  [...SHEET.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map(
    ([, name = '', light = '', dark = '']) => [name, { light, dark }],
  ),
);

const GROUNDS = ['page', 'surface', 'raised'];
/** Text of this colour stands on these. */
const TEXT: Readonly<Record<string, readonly string[]>> = {
  text: [...GROUNDS, 'accent-soft', 'you-soft', 'warn-soft', 'bad-soft'],
  'text-soft': [...GROUNDS, 'accent-soft', 'you-soft', 'warn-soft', 'bad-soft'],
  accent: [...GROUNDS, 'accent-soft', 'you-soft', 'warn-soft', 'bad-soft'],
  'accent-text': ['accent'],
  you: [...GROUNDS, 'you-soft'],
  warn: [...GROUNDS, 'warn-soft'],
  bad: [...GROUNDS, 'bad-soft'],
  good: GROUNDS,
};
/** Edges by which a control or its state is known, and the lines of charts, and what they are seen against. */
const EDGES: Readonly<Record<string, readonly string[]>> = {
  'line-strong': GROUNDS,
  accent: GROUNDS,
  you: GROUNDS,
  warn: [...GROUNDS, 'warn-soft'],
  bad: [...GROUNDS, 'bad-soft'],
  ...Object.fromEntries([1, 2, 3, 4, 5, 6].map((place) => [`series-${place}`, GROUNDS])),
};

function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const share = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [lighter = 0, darker = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (lighter + 0.05) / (darker + 0.05);
}

/** The pairs that do not reach a contrast. */
function below(least: number, pairs: Readonly<Record<string, readonly string[]>>): string[] {
  return (['light', 'dark'] as const).flatMap((theme) =>
    Object.entries(pairs).flatMap(([name, grounds]) =>
      grounds.flatMap((ground) => {
        const reached = contrast(TOKENS.get(name)?.[theme] ?? '', TOKENS.get(ground)?.[theme] ?? '');
        return reached >= least ? [] : [`${theme}: ${name} on ${ground} has ${reached}`];
      }),
    ),
  );
}

describe('the colours', () => {
  it('of text are read by people with low vision', () => expect(below(4.5, TEXT)).toEqual([]));

  it('of edges show where a control is', () => expect(below(3, EDGES)).toEqual([]));

  it('are all known to this test, but for the lines that only part and the grounds', () => {
    const others = new Set([
      ...GROUNDS,
      'line',
      ...[...TOKENS.keys()].filter((name) => name.endsWith('-soft')),
    ]);
    expect(
      [...TOKENS.keys()].filter((name) => !(name in TEXT) && !(name in EDGES) && !others.has(name)),
    ).toEqual([]);
    expect(TOKENS.size).toBeGreaterThan(12);
  });

  it('reach what the formula of WCAG gives for black on white', () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21);
    expect(contrast('#777777', '#ffffff')).toBeCloseTo(4.48, 2);
  });
});
