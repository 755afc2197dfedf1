/** What of the log is looked at, as words that people type and as the query of an address: for logs and for analytics. */

/** What a word may ask about, besides `metadata.NAME`. */
export const FIELDS = [
  'gateway',
  'provider',
  'model',
  'key',
  'user',
  'status',
  'kind',
  'success',
  'cached',
  'end',
  'session',
  'route',
  'cost',
  'tokens',
  'duration',
  'ttft',
] as const;

export type Comparison = '=' | '!=' | '>' | '>=' | '<' | '<=';

export interface Condition {
  /** One of `FIELDS`, or `metadata.NAME`. */
  readonly field: string;
  readonly comparison: Comparison;
  /** Of which one must fit; for a comparison by size there is one. */
  readonly values: readonly string[];
}

/** Ranges that move with the clock, in seconds. */
export const RANGES = {
  '15m': 900,
  '1h': 3_600,
  '6h': 21_600,
  '24h': 86_400,
  '7d': 604_800,
  '30d': 2_592_000,
  '90d': 7_776_000,
} as const;
export type Range = keyof typeof RANGES;

/** From `since` on and before `until`, in whole Unix seconds; or what the last so-and-so long holds. */
export type TimeWish =
  { readonly range: Range } | { readonly range: null; readonly since: number; readonly until: number };

export interface Filters {
  readonly time: TimeWish;
  /** All of them must be true. */
  readonly conditions: readonly Condition[];
  /** What any of a row's words must contain. */
  readonly text: string;
}

const WORD = /(?:[^\s"]|"[^"]*"?)+/g;
const CONDITION = /^([a-z]+(?:\.[^:]+)?):(!=|>=|<=|>|<|!|=)?(.*)$/s;

/** Read what somebody typed: `model:a,b status:>=400 metadata.team:"support desk" any other words`. */
export function parseWords(typed: string): Pick<Filters, 'conditions' | 'text'> {
  const conditions: Condition[] = [];
  const rest: string[] = [];
  for (const word of typed.match(WORD) ?? []) {
    const condition = conditionOf(word);
    if (condition) conditions.push(condition);
    else rest.push(word);
  }
  return { conditions, text: rest.map(unquoted).join(' ') };
}

/** Write conditions and text as they would be typed; `parseWords` reads them back. */
export function wordsOf({ conditions, text }: Pick<Filters, 'conditions' | 'text'>): string {
  const words = conditions.map(({ field, comparison, values }) => {
    return `${field}:${comparison === '=' ? '' : comparison}${values.map(quoted).join(',')}`;
  });
  const isAmbiguous = text !== '' && parseWords(text).conditions.length > 0;
  return [...words, ...(text === '' ? [] : [isAmbiguous ? `"${text.replaceAll('"', '')}"` : text])].join(' ');
}

/** Read the query of an address: `range=1h`, or `since` and `until`; and `q`. */
export function filtersOf(query: URLSearchParams, usual: Range): Filters {
  return { time: timeOf(query, usual), ...parseWords(query.get('q') ?? '') };
}

/** Write filters into a query, beside what else is in it. */
export function withFilters(query: URLSearchParams, filters: Filters): URLSearchParams {
  const changed = new URLSearchParams(query);
  for (const name of ['range', 'since', 'until', 'q']) changed.delete(name);
  if (filters.time.range !== null) changed.set('range', filters.time.range);
  else {
    changed.set('since', String(filters.time.since));
    changed.set('until', String(filters.time.until));
  }
  const words = wordsOf(filters);
  if (words !== '') changed.set('q', words);
  return changed;
}

/** Return the filters with one more condition, in place of others about the same field. */
export function narrowed(filters: Filters, field: string, value: string): Filters {
  const others = filters.conditions.filter((condition) => condition.field !== field);
  return { ...filters, conditions: [...others, { field, comparison: '=', values: [value] }] };
}

/** The seconds that a wish means at some time. */
export function boundsOf(time: TimeWish, now: number): { readonly since: number; readonly until: number } {
  return time.range === null ? time : { since: now - RANGES[time.range], until: now };
}

function timeOf(query: URLSearchParams, usual: Range): TimeWish {
  const since = Number(query.get('since') ?? NaN);
  const until = Number(query.get('until') ?? NaN);
  if (Number.isSafeInteger(since) && Number.isSafeInteger(until) && since < until) {
    return { range: null, since, until };
  }
  const range = query.get('range') ?? '';
  return { range: isRange(range) ? range : usual };
}

function isRange(name: string): name is Range {
  return Object.hasOwn(RANGES, name);
}

function conditionOf(word: string): Condition | null {
  const [, field, sign = '=', rest = ''] = CONDITION.exec(word) ?? [];
  if (field === undefined || rest === '' || !isField(field)) return null;
  const comparison = (sign === '!' ? '!=' : sign) as Comparison;
  const values = comparison === '=' || comparison === '!=' ? splitList(rest) : [unquoted(rest)];
  return values.length > 0 ? { field, comparison, values } : null;
}

function isField(name: string): boolean {
  return (FIELDS as readonly string[]).includes(name) || /^metadata\../.test(name);
}

function splitList(text: string): string[] {
  return (text.match(/(?:[^,"]|"[^"]*"?)+/g) ?? []).map(unquoted).filter((value) => value !== '');
}

function unquoted(text: string): string {
  return text.replaceAll('"', '');
}

function quoted(value: string): string {
  return /[\s,:]/.test(value) ? `"${value}"` : value;
}
