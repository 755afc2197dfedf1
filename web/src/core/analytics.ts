/** What a page of charts asks the gateway, and what is reckoned from the answers. Times are whole Unix seconds. */
import { boundsOf, narrowed, parseWords, wordsOf, type Condition, type Filters } from './filters';

export type Interval = 'minute' | '5m' | 'hour' | 'day' | 'week' | 'month';
type Step = 'minute' | 'hour' | 'day';

export interface Bounds {
  readonly since: number;
  readonly until: number;
}

/** What filters and a moment mean for the gateway's sums. */
export interface Plan extends Bounds {
  readonly interval: Interval;
  /** For percentiles, of which fewer are kept; null where there are none for these filters. */
  readonly timed: Interval | null;
  /** Conditions that are kept together, as the API names them. */
  readonly narrowing: readonly (readonly [name: string, value: string])[];
  /** Fields of those. */
  readonly fields: readonly string[];
  /** Words of the filter that sums cannot answer, as they would be typed. */
  readonly ignored: readonly string[];
}

export interface Curve {
  readonly starts: readonly number[];
  readonly until: number;
}

type Values = readonly (number | null)[];

/** Below this many, one of a hundred is nobody. */
export const ENOUGH = 20;

const MINUTE = 60;
const HOUR = 3_600;
const DAY = 86_400;
const LENGTHS = { minute: MINUTE, '5m': 300, hour: HOUR, day: DAY } as const;
const STEPS: readonly Step[] = ['minute', 'hour', 'day'];

/** Which fields go together, besides the gateway, and the shortest steps of sums and of percentiles: the narrowest first. */
const KEPT: readonly {
  readonly fields: readonly string[];
  readonly sums: Step;
  readonly timed: Step | null;
  /** Seconds for which hours are kept. */
  readonly hours: number;
}[] = [
  { fields: ['provider', 'model', 'status'], sums: 'minute', timed: 'minute', hours: 400 * DAY },
  { fields: ['key', 'provider', 'model', 'status'], sums: 'minute', timed: 'minute', hours: 400 * DAY },
  { fields: ['user'], sums: 'hour', timed: 'day', hours: 100 * DAY },
  { fields: ['metadata'], sums: 'hour', timed: 'day', hours: 100 * DAY },
  { fields: ['user', 'provider', 'model'], sums: 'day', timed: null, hours: 0 },
  { fields: ['metadata', 'provider', 'model'], sums: 'day', timed: null, hours: 0 },
];
/** Minutes are kept for three days; an hour less, for clocks that differ. */
const MINUTES_KEPT = 3 * DAY - HOUR;

/** In which intervals a time is shown best. */
const BEST: readonly (readonly [longest: number, interval: Interval])[] = [
  [3 * HOUR, 'minute'],
  [12 * HOUR, '5m'],
  [8 * DAY, 'hour'],
  [180 * DAY, 'day'],
  [732 * DAY, 'week'],
  [Infinity, 'month'],
];

/**
 * Plan what is asked. Of conditions that are not kept together the last ones count, since those were chosen last; `by` is
 * told apart as well, and goes before all of them.
 */
export function planOf(filters: Filters, now: number, by = ''): Plan {
  const asked: Condition[] = [];
  const ignored: string[] = [];
  for (const condition of [...filters.conditions].reverse()) {
    const fields = [...asked.map(({ field }) => field), condition.field];
    const isTwice = asked.some(({ field }) => field === condition.field);
    if (!isTwice && isAnswered(condition) && keptBy([...fields, by])) asked.unshift(condition);
    else ignored.unshift(wordsOf({ conditions: [condition], text: '' }));
  }
  if (filters.text !== '') ignored.push(wordsOf({ conditions: [], text: filters.text }));
  const fields = asked.map(({ field }) => field);
  const kept = keptBy([...fields, by]) ?? KEPT[0]!;
  const { since, until } = boundsOf(filters.time, now);
  const interval = intervalOf(since, until, now, kept.sums, kept.hours);
  return {
    since: beginning(since, interval),
    until,
    interval,
    timed: kept.timed && intervalOf(since, until, now, kept.timed, kept.hours),
    narrowing: asked.flatMap(({ field, comparison, values }) =>
      values.map((value) => parameter(field, comparison === '=' ? value : comparison + value)),
    ),
    fields,
    ignored,
  };
}

/** Whether sums are kept by all of these together; empty names say nothing. */
export function goTogether(fields: readonly string[]): boolean {
  return keptBy(fields) !== undefined;
}

/** The query of a question. */
export function queryOf(
  plan: Plan,
  measures: readonly string[],
  more: Readonly<Record<string, string>> = {},
): URLSearchParams {
  const query = new URLSearchParams({ since: String(plan.since), until: String(plan.until), ...more });
  for (const measure of measures) query.append('measure', measure);
  for (const [name, value] of plan.narrowing) query.append(name, value);
  return query;
}

/** The filter that a group stands for, if words can say it: `by` is as the API names it. */
export function filterOf(filters: Filters, by: string, value: string | null): Filters | null {
  const field = fieldOf(by);
  if (!value) return null;
  const changed = narrowed(filters, field, value);
  const condition = changed.conditions.at(-1)!;
  const read = parseWords(wordsOf({ conditions: [condition], text: '' }));
  const isSame = read.text === '' && JSON.stringify(read.conditions) === JSON.stringify([condition]);
  return isSame ? changed : null;
}

/** The field of a filter for what is told apart: `metadata:team` is `metadata.team`. */
export function fieldOf(by: string): string {
  return by.replace(/^metadata:/, 'metadata.');
}

/** From a point on and before the next. */
export function pointBounds({ starts, until }: Curve, index: number): Bounds {
  const since = starts[index] ?? until;
  return { since, until: starts[index + 1] ?? Math.max(until, since + 1) };
}

/** The time that is brushed from one point to another, in either direction and beyond the ends: whole points. */
export function brushed(curve: Curve, from: number, to: number): Bounds | null {
  const last = curve.starts.length - 1;
  if (last < 0) return null;
  const at = (index: number): number => Math.min(last, Math.max(0, Math.round(index)));
  const first = at(Math.min(from, to));
  return { since: curve.starts[first]!, until: pointBounds(curve, at(Math.max(from, to))).until };
}

/** How something changed; `part` is by how much of what it was, 0.5 for half as much again. */
export type Change =
  { readonly kind: 'unknown' | 'none' | 'new' } | { readonly kind: 'up' | 'down'; readonly part: number };

export function changeOf(now: number | null | undefined, before: number | null | undefined): Change {
  if (now === null || now === undefined || before === null || before === undefined)
    return { kind: 'unknown' };
  if (now === before) return { kind: 'none' };
  if (before === 0) return { kind: 'new' };
  const part = now / before - 1;
  // What would be written as 0 % is no change to speak of.
  if (Math.abs(part) < 0.005) return { kind: 'none' };
  return { kind: part > 0 ? 'up' : 'down', part: Math.abs(part) };
}

/** The points with the most and with the least, and the last that has anything; null where none has. */
export function extremes(values: Values): { highest: number; lowest: number; last: number } | null {
  let found: { highest: number; lowest: number; last: number } | null = null;
  values.forEach((value, index) => {
    if (value === null) return;
    found ??= { highest: index, lowest: index, last: index };
    if (value > values[found.highest]!) found.highest = index;
    if (value < values[found.lowest]!) found.lowest = index;
    found.last = index;
  });
  return found;
}

/** Leave out what so few exchanges say nothing of. */
export function whereEnough(values: Values, counts: Values): Values {
  return values.map((value, index) => ((counts[index] ?? 0) >= ENOUGH ? value : null));
}

/** Rows of a chart as a table, newest first: the start of a point, and a number of each line. */
export function rowsOf(
  { starts }: Curve,
  lines: readonly Values[],
): { readonly start: number; readonly values: Values }[] {
  return starts
    .map((start, index) => ({ start, values: lines.map((line) => line[index] ?? null) }))
    .reverse();
}

function isAnswered({ field, comparison, values }: Condition): boolean {
  // That it is none of several is not what "one of these must be so" says.
  if (field === 'status') {
    return values.every((value) => /^\d{3}$/.test(value)) && (comparison !== '!=' || values.length === 1);
  }
  if (comparison !== '=') return false;
  return field === 'gateway' || KEPT.some(({ fields }) => fields.includes(field)) || isMetadata(field);
}

function keptBy(named: readonly string[]): (typeof KEPT)[number] | undefined {
  const fields = new Set(named.map(fieldOf).filter((field) => field !== '' && field !== 'gateway'));
  const metadata = [...fields].filter(isMetadata);
  if (metadata.length > 1) return undefined;
  const kinds = [...fields].map((field) => (isMetadata(field) ? 'metadata' : field));
  return KEPT.find((kept) => kinds.every((kind) => kept.fields.includes(kind)));
}

function isMetadata(field: string): boolean {
  return field.startsWith('metadata.');
}

function parameter(field: string, value: string): readonly [string, string] {
  return isMetadata(field) ? ['metadata', `${field.slice('metadata.'.length)}:${value}`] : [field, value];
}

function intervalOf(since: number, until: number, now: number, shortest: Step, hours: number): Interval {
  const best = BEST.find(([longest]) => until - since <= longest)![1];
  const oldest: Step = since >= now - MINUTES_KEPT ? 'minute' : since >= now - hours ? 'hour' : 'day';
  const finest = STEPS[Math.max(STEPS.indexOf(shortest), STEPS.indexOf(oldest))]!;
  const isShorter = best !== 'week' && best !== 'month' && LENGTHS[best] < LENGTHS[finest];
  return isShorter ? finest : best;
}

/** Where the interval begins that holds a moment: days, weeks and months begin at midnight here. */
function beginning(moment: number, interval: Interval): number {
  if (interval === 'minute' || interval === '5m' || interval === 'hour') {
    return Math.floor(moment / LENGTHS[interval]) * LENGTHS[interval];
  }
  const day = new Date(moment * 1000);
  day.setHours(0, 0, 0, 0);
  if (interval === 'week') day.setDate(day.getDate() - ((day.getDay() + 6) % 7));
  if (interval === 'month') day.setDate(1);
  return Math.max(0, Math.floor(day.getTime() / 1000));
}
