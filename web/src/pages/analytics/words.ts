/** The words of this page, and numbers and times as it writes them: read `own.t` where they follow the language. */
import { dollars } from '../../app/formats';
import type { Interval } from '../../core/analytics';
import { analytics as de } from '../../i18n/analytics.de';
import { analytics as en, type AnalyticsWords } from '../../i18n/analytics.en';
import { words } from '../../i18n/index.svelte';

export const own = {
  get t(): AnalyticsWords {
    return words.of({ en, de });
  },
};

const DAY = 86_400;

export type Format = (value: number) => string;

/** How each kind of number is written. */
export const formats = {
  count: (value) =>
    words.number(
      value,
      value < 100_000 ? { maximumFractionDigits: 0 } : { notation: 'compact', maximumFractionDigits: 1 },
    ),
  cost: (value) => (value < 1 ? dollars(value) : words.number(value, { style: 'currency', currency: 'USD' })),
  /** As short as an axis has it. */
  axis: (value) => words.number(value, { notation: 'compact' }),
  part: (value) => words.number(value, { style: 'percent', maximumFractionDigits: value < 0.1 ? 1 : 0 }),
  time: (value) => (value < 1000 ? words.milliseconds(value) : seconds(value / 1000)),
  seconds: (value) =>
    value < 3600
      ? seconds(value)
      : words.number(value / 3600, { style: 'unit', unit: 'hour', maximumFractionDigits: 1 }),
} satisfies Record<string, Format>;

function seconds(value: number): string {
  return words.number(value, {
    style: 'unit',
    unit: 'second',
    unitDisplay: 'narrow',
    maximumFractionDigits: 2,
  });
}

/** What is not there is a dash. */
export function written(value: number | null | undefined, format: Format): string {
  return value === null || value === undefined ? '–' : format(value);
}

/** When a point begins. */
export function momentOf(start: number, interval: Interval): string {
  const isDay = interval === 'day' || interval === 'week' || interval === 'month';
  const options: Intl.DateTimeFormatOptions = isDay
    ? { dateStyle: 'medium' }
    : { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' };
  return words.moment(start * 1000, options);
}

/** Under an axis: the time of day, and where a day begins its date. */
export function tickOf(moment: number, span: number): string {
  const date = new Date(moment * 1000);
  const isDay = span > 8 * DAY || (date.getHours() === 0 && date.getMinutes() === 0);
  const options: Intl.DateTimeFormatOptions = isDay
    ? { month: 'short', day: 'numeric', ...(span > 300 * DAY && { year: '2-digit' }) }
    : { hour: 'numeric', minute: '2-digit' };
  return words.moment(moment * 1000, options);
}
