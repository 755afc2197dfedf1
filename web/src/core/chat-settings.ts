/** What somebody sets for a conversation beside its messages, as it is sent and as it is kept. No key is among it. */

import type { ChatParameters } from './chat';
import { asNumber, asObject, asString, parseJson, type JsonObject } from './narrow';

export type AnswerFormat = 'text' | 'json' | 'schema';

export interface ChatSettings {
  readonly systemPrompt: string;
  /** Null leaves the choice to the provider. */
  readonly temperature: number | null;
  readonly maxTokens: number | null;
  readonly format: AnswerFormat;
  /** A JSON schema as it is written; counts with the format `schema`. */
  readonly schema: string;
  /** The dynamic route to ask in place of a model; empty for none. */
  readonly route: string;
  /** Wishes to the gateway, by the name of a `GATEWAY_FIELDS` entry. What is absent is the gateway's to decide. */
  readonly wishes: Readonly<Record<string, string>>;
}

export const DEFAULT_SETTINGS: ChatSettings = {
  systemPrompt: '',
  temperature: null,
  maxTokens: null,
  format: 'text',
  schema: '',
  route: '',
  wishes: {},
};

/** What may stand in one field: a number in bounds, a text that a header can carry, or one of some words. */
export type GatewayField = {
  readonly name: string;
  /** The header that carries the value as it is; the others are put together in `gatewayHeaders`. */
  readonly header?: string;
} & (
  | { readonly kind: 'number'; readonly least: number; readonly most: number; readonly step?: 'any' }
  | { readonly kind: 'text'; readonly longest: number }
  | { readonly kind: 'lines' }
  | { readonly kind: 'choice'; readonly of: readonly string[] }
);

/** The names are also those of the words for each field. */
export const GATEWAY_FIELDS = [
  { name: 'skipCache', header: 'cf-aig-skip-cache', kind: 'choice', of: ['true'] },
  { name: 'cacheTtl', header: 'cf-aig-cache-ttl', kind: 'number', least: 60, most: 2_592_000 },
  { name: 'cacheKey', header: 'cf-aig-cache-key', kind: 'text', longest: 1024 },
  { name: 'log', kind: 'choice', of: ['whole', 'counts', 'none'] },
  { name: 'metadata', kind: 'lines' },
  { name: 'eventId', header: 'cf-aig-event-id', kind: 'text', longest: 200 },
  { name: 'timeout', header: 'cf-aig-request-timeout', kind: 'number', least: 1, most: 600_000 },
  { name: 'attempts', header: 'cf-aig-max-attempts', kind: 'number', least: 1, most: 5 },
  { name: 'delay', header: 'cf-aig-retry-delay', kind: 'number', least: 0, most: 60_000 },
  { name: 'backoff', header: 'cf-aig-backoff', kind: 'choice', of: ['constant', 'linear', 'exponential'] },
  { name: 'costIn', kind: 'number', least: 0, most: 1_000_000, step: 'any' },
  { name: 'costOut', kind: 'number', least: 0, most: 1_000_000, step: 'any' },
  { name: 'alias', header: 'cf-aig-byok-alias', kind: 'text', longest: 64 },
] as const satisfies readonly GatewayField[];

export type GatewayFieldName = (typeof GATEWAY_FIELDS)[number]['name'];

const LOGGED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  whole: { 'cf-aig-collect-log': 'true' },
  counts: { 'cf-aig-collect-log': 'true', 'cf-aig-collect-log-payload': 'false' },
  none: { 'cf-aig-collect-log': 'false' },
};
const MOST_TAGS = 5;
const PER_MILLION = 1_000_000;

/** The request headers that carry the wishes. */
export function gatewayHeaders(wishes: ChatSettings['wishes']): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const field of GATEWAY_FIELDS) {
    const value = wishes[field.name]?.trim();
    if (value && 'header' in field) headers[field.header] = value;
  }
  Object.assign(headers, LOGGED[wishes['log'] ?? '']);
  const tags = metadataOf(wishes['metadata'] ?? '');
  if (Object.keys(tags).length > 0) headers['cf-aig-metadata'] = inAscii(JSON.stringify(tags));
  const prices = { per_token_in: priceOf(wishes['costIn']), per_token_out: priceOf(wishes['costOut']) };
  if (wishes['costIn'] || wishes['costOut']) headers['cf-aig-custom-cost'] = JSON.stringify(prices);
  return headers;
}

/** Read lines such as `team: search`: numbers and yes or no are what they look like. The gateway takes five. */
export function metadataOf(lines: string): Record<string, string | number | boolean> {
  const entries = lines.split('\n').flatMap((line): [string, string | number | boolean][] => {
    const [, name, text] = /^\s*([^:=]+?)\s*[:=]\s*(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined || text === undefined) return [];
    const value = parseJson(text);
    return [[name, typeof value === 'number' || typeof value === 'boolean' ? value : text]];
  });
  return Object.fromEntries(entries.slice(0, MOST_TAGS));
}

/** What of the settings belongs into the body of a request. A schema that cannot be read is not sent: see `schemaOf`. */
export function parametersOf({ temperature, maxTokens, format, schema }: ChatSettings): ChatParameters {
  const wanted = format === 'schema' ? schemaOf(schema) : undefined;
  return {
    ...(temperature === null ? {} : { temperature }),
    ...(maxTokens === null ? {} : { maxTokens }),
    ...(format === 'json' ? { responseFormat: { type: 'json_object' } } : {}),
    ...(wanted
      ? {
          responseFormat: {
            type: 'json_schema',
            json_schema: { name: 'answer', schema: wanted, strict: true },
          },
        }
      : {}),
  };
}

/** The schema as an object; undefined for what is no JSON object. */
export function schemaOf(schema: string): JsonObject | undefined {
  return asObject(parseJson(schema));
}

/** As they are kept with the conversation: only what somebody has set. */
export function keptSettings(settings: ChatSettings): Record<string, unknown> {
  const { systemPrompt, temperature, maxTokens, format, schema, route, wishes } = settings;
  return {
    ...(systemPrompt === '' ? {} : { system_prompt: systemPrompt }),
    ...(temperature === null ? {} : { temperature }),
    ...(maxTokens === null ? {} : { max_tokens: maxTokens }),
    ...(format === 'text' ? {} : { format }),
    ...(schema === '' ? {} : { schema }),
    ...(route === '' ? {} : { route }),
    ...(Object.keys(wishes).length === 0 ? {} : { wishes }),
  };
}

export function settingsFrom(kept: JsonObject): ChatSettings {
  const format = asString(kept['format']);
  const wishes = Object.entries(asObject(kept['wishes']) ?? {}).flatMap(
    ([name, value]): [string, string][] =>
      typeof value === 'string' && GATEWAY_FIELDS.some((field) => field.name === name) ? [[name, value]] : [],
  );
  return {
    systemPrompt: asString(kept['system_prompt']) ?? '',
    temperature: asNumber(kept['temperature']) ?? null,
    maxTokens: asNumber(kept['max_tokens']) ?? null,
    format: format === 'json' || format === 'schema' ? format : 'text',
    schema: asString(kept['schema']) ?? '',
    route: asString(kept['route']) ?? '',
    wishes: Object.fromEntries(wishes),
  };
}

function priceOf(dollarsAMillion: string | undefined): number {
  return Number(dollarsAMillion ?? 0) / PER_MILLION;
}

/** Headers carry Latin-1 at most. */
function inAscii(json: string): string {
  return json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
