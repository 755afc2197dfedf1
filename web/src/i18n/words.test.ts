// @vitest-environment happy-dom
import { afterEach, expect, test } from 'vitest';

import { words } from './index.svelte';

afterEach(() => words.choose('en'));

test.each(['en', 'de'] as const)(
  'numbers are as %s writes them, whether a format is made for them or not',
  async (language) => {
    await words.choose(language);
    const kinds: Intl.NumberFormatOptions[] = [
      {},
      { maximumFractionDigits: 1 },
      { notation: 'compact', maximumFractionDigits: 1 },
      { minimumFractionDigits: 1 },
      { signDisplay: 'exceptZero' },
      { style: 'percent' },
    ];
    for (const options of kinds)
      for (const value of [0, 7, 999, 1000, 1234.56, 0.5, -3])
        expect(words.number(value, options)).toBe(new Intl.NumberFormat(language, options).format(value));
    const unit = { style: 'unit', unit: 'millisecond', unitDisplay: 'short' } as const;
    for (const value of [0, 12, 4321]) {
      const written = new Intl.NumberFormat(language, unit).format(value);
      expect(words.milliseconds(value)).toBe(written.replace(/\s/, ' '));
    }
  },
);

test('a moment is written in the language of the page', async () => {
  const noon = Date.UTC(2026, 10, 28, 12);
  const options = { dateStyle: 'medium', timeZone: 'UTC' } as const;
  expect(words.moment(noon, options)).toBe('Nov 28, 2026');
  await words.choose('de');
  expect(words.moment(noon, options)).toBe('28.11.2026');
});
