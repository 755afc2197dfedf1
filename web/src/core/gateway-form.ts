/** The switches of a gateway as a form has them, and what is sent of those that were changed. */

import type { GatewayChange, GatewayView, SessionLimits } from './api/gateways';
import { keyLimitFields, listIn, voiceFaults, voiceLimitsIn, type VoiceLimit } from './limit-form';
import { lengthText, secondsIn } from './limits';
import { parseJson } from './narrow';

/**
 * How a field is typed. `bound` is a number or nothing, `length` a time like `30m` of seconds, `lines` has a thing on
 * each line, `prices` a model with its prices, `json` is for what has no form of its own.
 */
export type Kind =
  'switch' | 'choice' | 'bound' | 'number' | 'mebibytes' | 'length' | 'lines' | 'prices' | 'json';

interface Described {
  /** Where it is in what the gateway tells of itself. */
  readonly path: string;
  readonly kind: Kind;
  /** What an empty field means. */
  readonly empty?: number;
}

export const FIELDS = {
  authenticated: { path: 'authenticated', kind: 'switch' },
  stored_key_wins: { path: 'stored_key_wins', kind: 'switch' },
  client_secrets: { path: 'client_secrets', kind: 'choice' },
  allowed_origins: { path: 'allowed_origins', kind: 'lines' },
  ttl: { path: 'control.cache.ttl', kind: 'length', empty: 0 },
  semantic: { path: 'control.cache.semantic', kind: 'number', empty: 0 },
  max_bytes: { path: 'control.cache.max_bytes', kind: 'mebibytes', empty: 10_485_760 },
  invalidate_on_update: { path: 'control.cache.invalidate_on_update', kind: 'switch' },
  max_attempts: { path: 'control.attempts.max_attempts', kind: 'number', empty: 1 },
  delay: { path: 'control.attempts.delay', kind: 'number', empty: 0 },
  backoff: { path: 'control.attempts.backoff', kind: 'choice' },
  timeout: { path: 'control.attempts.timeout', kind: 'number', empty: 0 },
  hedge: { path: 'control.attempts.hedge', kind: 'number', empty: 0 },
  breaker: { path: 'control.attempts.breaker', kind: 'number', empty: 0 },
  rest: { path: 'control.attempts.rest', kind: 'number', empty: 30 },
  pools: { path: 'control.attempts.pools', kind: 'json' },
  collect: { path: 'logging.collect', kind: 'switch' },
  payloads: { path: 'logging.payloads', kind: 'switch' },
  redact_pii: { path: 'logging.redact_pii', kind: 'switch' },
  usage_in_streams: { path: 'logging.usage_in_streams', kind: 'switch' },
  max_rows: { path: 'logging.max_rows', kind: 'bound' },
  max_age_days: { path: 'logging.max_age_days', kind: 'bound' },
  strategy: { path: 'logging.strategy', kind: 'choice' },
  custom_costs: { path: 'logging.custom_costs', kind: 'prices' },
  beta_bridge: { path: 'realtime.beta_bridge', kind: 'switch' },
  resume: { path: 'realtime.resume', kind: 'switch' },
  fallbacks: { path: 'realtime.fallbacks', kind: 'lines' },
  record: { path: 'realtime.record', kind: 'switch' },
} as const satisfies Readonly<Record<string, Described>>;
export type FieldName = keyof typeof FIELDS;
export const FIELD_NAMES = Object.keys(FIELDS) as FieldName[];

export interface GatewayFields {
  texts: Record<string, string>;
  switches: Record<string, boolean>;
  voice: Record<VoiceLimit, string>;
}

export type FieldFault = 'number' | 'length' | 'json' | 'prices' | 'quota';

const MEBIBYTE = 1_048_576;
const PER = 1_000_000;
/** The words for prices, of a million tokens or of a request, and what the gateway calls them. */
const PRICES = {
  in: ['per_token_in', PER],
  out: ['per_token_out', PER],
  cached: ['per_cache_read_token', PER],
  written: ['per_cache_write_token', PER],
  request: ['total_cost', 1],
} as const;

type Price = GatewayView['logging']['custom_costs'][number];
type Tree = Readonly<Record<string, unknown>>;

/** Fill the form in. */
export function gatewayFields(view: GatewayView): GatewayFields {
  const texts: Record<string, string> = {};
  const switches: Record<string, boolean> = {};
  for (const name of FIELD_NAMES) {
    const { path, kind } = FIELDS[name];
    const value = valueAt(view, path);
    if (kind === 'switch') switches[name] = value === true;
    else texts[name] = textOf(value, kind);
  }
  return { texts, switches, voice: keyLimitFields([], view.realtime.limits, lengthText).voice };
}

/** What is typed wrongly, by the field; limits of voice begin with `limits.`. */
export function gatewayFaults({ texts, voice }: GatewayFields): Record<string, FieldFault> {
  const faults: Record<string, FieldFault> = {};
  for (const name of FIELD_NAMES) {
    const { kind } = FIELDS[name];
    const text = texts[name]?.trim() ?? '';
    if (text === '' || readText(text, FIELDS[name]) !== undefined) continue;
    faults[name] = kind === 'length' || kind === 'json' || kind === 'prices' ? kind : 'number';
  }
  for (const [name, fault] of Object.entries(voiceFaults(voice))) faults[`limits.${name}`] = fault;
  return faults;
}

/** What differs from the gateway as it is known, of fields without a fault. */
export function gatewayChange(view: GatewayView, fields: GatewayFields): GatewayChange {
  const change: Record<string, unknown> = {};
  for (const name of FIELD_NAMES) {
    const described: Described = FIELDS[name];
    const text = fields.texts[name]?.trim() ?? '';
    const wanted =
      described.kind === 'switch'
        ? fields.switches[name]
        : text === ''
          ? emptyOf(described)
          : readText(text, described);
    const known = valueAt(view, described.path);
    if (JSON.stringify(plain(wanted)) !== JSON.stringify(plain(known))) put(change, described.path, wanted);
  }
  const limits = voiceLimitsIn(fields.voice);
  if (!isSame(limits, view.realtime.limits)) put(change, 'realtime.limits', limits);
  return change;
}

/** Write prices as lines, in US dollars per million tokens: `openai/gpt-4o* in=2.5 out=10`. */
export function pricesText(prices: readonly Price[]): string {
  return prices
    .map(({ provider, model, prices: known }) => {
      const told = Object.entries(PRICES).flatMap(([word, [name, per]]) => {
        const price = known[name];
        return price === null || price === undefined
          ? []
          : [`${word}=${Number((price * per).toPrecision(12))}`];
      });
      return [`${provider || '*'}/${model}`, ...told].join(' ');
    })
    .join('\n');
}

/** Read prices; undefined where a line is none. */
export function pricesIn(text: string): Price[] | undefined {
  const found: Price[] = [];
  for (const line of text.split('\n')) {
    const [whom = '', ...told] = line.trim().split(/\s+/);
    if (whom === '') continue;
    const [, provider = '*', model] = /^(?:([^/]+)\/)?(.+)$/.exec(whom) ?? [];
    const prices: Record<string, number> = {};
    for (const one of told) {
      const [word = '', amount = ''] = one.split('=');
      const price = Number(amount.replace(',', '.') || NaN);
      if (!isPriceWord(word) || !(price >= 0)) return undefined;
      const [name, per] = PRICES[word];
      prices[name] = Number((price / per).toPrecision(12));
    }
    if (model === undefined || told.length === 0) return undefined;
    found.push({ provider: provider === '*' ? '' : provider, model, prices });
  }
  return found;
}

function isPriceWord(word: string): word is keyof typeof PRICES {
  return Object.hasOwn(PRICES, word);
}

function textOf(value: unknown, kind: Kind): string {
  if (value === null || value === undefined) return '';
  switch (kind) {
    case 'length':
      return typeof value === 'number' && value > 0 ? lengthText(value) : '';
    case 'mebibytes':
      return String(Number(value) / MEBIBYTE);
    case 'lines':
      return Array.isArray(value) ? value.join('\n') : '';
    case 'prices':
      return pricesText(value as readonly Price[]);
    case 'json':
      return Array.isArray(value) && value.length === 0 ? '' : JSON.stringify(value, null, 2);
    case 'number':
      return value === 0 ? '' : String(value as number);
    default:
      return String(value as string | number);
  }
}

/** What a text that is not empty means; undefined where it means nothing. */
function readText(text: string, { kind }: Described): unknown {
  switch (kind) {
    case 'length':
      return secondsIn(text) ?? undefined;
    case 'lines':
      return listIn(text);
    case 'prices':
      return pricesIn(text);
    case 'json': {
      const value = parseJson(text);
      return Array.isArray(value) ? value : undefined;
    }
    case 'choice':
      return text;
    default: {
      const number = Number(text.replace(',', '.'));
      if (!Number.isFinite(number)) return undefined;
      return kind === 'mebibytes' ? Math.round(number * MEBIBYTE) : number;
    }
  }
}

function emptyOf({ kind, empty }: Described): unknown {
  if (kind === 'bound') return null;
  return empty ?? [];
}

function valueAt(view: GatewayView, path: string): unknown {
  return path.split('.').reduce<unknown>((value, step) => (value as Tree)[step], view);
}

function put(tree: Record<string, unknown>, path: string, value: unknown): void {
  const [step = '', ...rest] = path.split('.');
  if (rest.length === 0) tree[step] = value;
  else put((tree[step] ??= {}) as Record<string, unknown>, rest.join('.'), value);
}

/** Of prices, those that are not set are null in what the gateway tells, and absent in what is typed. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, one]) => one !== null);
  return Object.fromEntries(
    entries.sort(([a], [b]) => a.localeCompare(b)).map(([name, one]) => [name, plain(one)]),
  );
}

function isSame(wanted: SessionLimits, known: SessionLimits): boolean {
  return JSON.stringify(plain(wanted)) === JSON.stringify(plain(known));
}
