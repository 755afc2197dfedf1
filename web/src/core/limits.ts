/** Lengths of time and quotas as people type them and the gateway writes them, and how near a limit is. */

/** Seconds of the times that quotas are usually for; a month has 30 days. */
export const UNITS = {
  second: 1,
  minute: 60,
  hour: 3_600,
  day: 86_400,
  week: 604_800,
  month: 2_592_000,
} as const;
export type Unit = keyof typeof UNITS;

/** From this part of a limit on it is nearly used up. */
const NEAR = 0.8;
/** Amounts that were added up as fractions miss their sum by this much. */
const TOLERANCE = 1e-9;

const SHORT: Readonly<Record<string, number>> = { w: 604_800, d: 86_400, h: 3_600, m: 60, s: 1 };

export type Level = 'fine' | 'near' | 'reached';

export function levelOf(used: number, limit: number): Level {
  if (used >= limit - TOLERANCE) return 'reached';
  return used >= NEAR * limit ? 'near' : 'fine';
}

export function isUnit(word: string): word is Unit {
  return Object.hasOwn(UNITS, word);
}

/** Read `90s`, `30m`, `2h`, `7d`, a plain number of seconds, or the name of a unit; null for anything else. */
export function secondsIn(text: string): number | null {
  const word = text.trim().toLowerCase();
  if (isUnit(word)) return UNITS[word];
  const [, amount, unit = 's'] = /^(\d+(?:\.\d+)?) ?([smhdw])?$/.exec(word) ?? [];
  const seconds = Number(amount) * (SHORT[unit] ?? NaN);
  return seconds > 0 ? seconds : null;
}

/** Write a length of time so that `secondsIn` reads it: `30m`. */
export function lengthText(seconds: number): string {
  const [unit, size] = Object.entries(SHORT).find(([, one]) => seconds >= one && seconds % one === 0) ?? [
    's',
    1,
  ];
  return `${seconds / size}${unit}`;
}

/** The word that a quota has for a time: `minute`, or `10m`. */
export function unitOf(seconds: number): string {
  return Object.keys(UNITS).find((name) => isUnit(name) && UNITS[name] === seconds) ?? lengthText(seconds);
}

export interface Quota {
  readonly limit: number;
  readonly seconds: number;
}

/** Read `60/minute` or `5/10m`; null for anything else. */
export function quotaOf(text: string): Quota | null {
  const [amount = '', unit = '', ...rest] = text.split('/');
  const limit = Number(amount.replace(',', '.'));
  const seconds = secondsIn(unit);
  const isQuota = rest.length === 0 && amount.trim() !== '' && Number.isFinite(limit) && limit >= 0;
  return isQuota && seconds !== null ? { limit, seconds } : null;
}

/** Write a quota so that `quotaOf` and the gateway read it. */
export function quotaText({ limit, seconds }: Quota): string {
  return `${limit}/${unitOf(seconds)}`;
}
