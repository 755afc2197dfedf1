/** What is reckoned from rows of the log: how they are listed, what a cell asks for, where the time went, how they are copied. */
import { dataPlanePath } from './api/addresses';
import type { LogRow } from './api/logs';
import { literally } from './environment-text';
import { boundsOf, wordsOf, type Filters } from './filters';
import { asList, asObject, asString, parseJson } from './narrow';
import type { CopiedRequest } from './request-copy';

export const COLUMNS = [
  ...['time', 'model', 'kind', 'status', 'ttft', 'total', 'tokens', 'cost', 'cache', 'key'],
  ...['gateway', 'provider', 'user', 'route', 'end', 'attempts', 'error', 'metadata'],
] as const;
export type Column = (typeof COLUMNS)[number];
export const USUAL_COLUMNS = COLUMNS.slice(0, 10);
/** The column by which a row is opened is always there. */
export const FIRST_COLUMN = 'time';

/** So many rows are kept on the page. */
export const MOST_ROWS = 500;
/** Of a body no more is shown, in characters. */
export const SHOWN_BODY = 64 * 1024;

/** The columns that an address names, in their usual order. */
export function columnsOf(query: URLSearchParams): readonly Column[] {
  const named = query.get('columns')?.split(',');
  if (!named) return USUAL_COLUMNS;
  return COLUMNS.filter((column) => column === FIRST_COLUMN || named.includes(column));
}

export function withColumns(query: URLSearchParams, columns: readonly Column[]): URLSearchParams {
  const changed = new URLSearchParams(query);
  changed.delete('columns');
  if (String(columns) !== String(USUAL_COLUMNS)) changed.set('columns', String(columns));
  return changed;
}

/** The query of the log's API. Without `now` the time is left out, as for rows that are still to come. */
export function queryOf(filters: Filters, now?: number): URLSearchParams {
  const query = new URLSearchParams();
  for (const condition of filters.conditions) {
    query.append('filter', wordsOf({ conditions: [condition], text: '' }));
  }
  if (filters.text) query.set('search', filters.text);
  if (now === undefined) return query;
  const { since, until } = boundsOf(filters.time, now);
  query.set('since', String(since));
  // What comes in a moment is wanted where the range moves with the clock.
  if (filters.time.range === null) query.set('until', String(until));
  return query;
}

/** Put rows that came among those that are there, newest first, each once; the oldest beyond `most` go. */
export function merged(
  shown: readonly LogRow[],
  came: readonly LogRow[],
  most = MOST_ROWS,
): readonly LogRow[] {
  const byId = new Map([...shown, ...came].map((row) => [row.id, row]));
  // Ids begin with the time.
  return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, most);
}

/** What a cell's filter is: a field and a value of it; null where a row has none, or there is no such filter. */
export function askedBy(row: LogRow, column: Column): readonly [field: string, value: string] | null {
  const asked: Partial<Record<Column, readonly [string, string | number]>> = {
    model: ['model', row.model],
    kind: ['kind', kindOf(row)],
    status: ['status', row.status],
    cache: ['cached', String(row.cached)],
    key: ['key', row.key_id],
    gateway: ['gateway', row.gateway],
    provider: ['provider', row.provider],
    user: ['user', row.user],
    route: ['route', row.route],
    end: ['end', row.end_reason],
  };
  const [field, value = ''] = asked[column] ?? [];
  return field === undefined || value === '' ? null : [field, String(value)];
}

/** How an exchange came: `http`, `sse` where its answer was a stream of events, `universal`, `websocket`, `realtime`. */
export function kindOf(row: LogRow): string {
  const isStream = row.request_type === 'http' && row.response_content_type.startsWith('text/event-stream');
  return isStream ? 'sse' : row.request_type;
}

export interface Stretch {
  readonly name: 'connect' | 'wait' | 'stream';
  /** In milliseconds since the request came. */
  readonly from: number;
  readonly to: number;
}

/**
 * Where an exchange's time went, in order. `connect` is drawn at the start: a row says how long it took, not when. Empty
 * where a row says nothing but the whole.
 */
export function stretchesOf(row: LogRow): readonly Stretch[] {
  const total = row.duration_ms;
  const connect = Math.min(row.connect_ms ?? 0, total);
  const first = row.first_byte_ms === null ? null : Math.min(Math.max(row.first_byte_ms, connect), total);
  const all: Stretch[] = [
    { name: 'connect', from: 0, to: connect },
    { name: 'wait', from: connect, to: first ?? connect },
    { name: 'stream', from: first ?? total, to: total },
  ];
  return all.filter(({ from, to }) => to > from);
}

/** A body as it is shown: JSON with line breaks, and no more than `SHOWN_BODY` of it. */
export function shownBody(body: string): { readonly text: string; readonly isCut: boolean } {
  const value = body.length > 4 * SHOWN_BODY ? undefined : parseJson(body);
  const text = value === undefined ? body : JSON.stringify(value, null, 2);
  return { text: text.slice(0, SHOWN_BODY), isCut: text.length > SHOWN_BODY };
}

/**
 * The request behind a row. Of a body that was not kept only the model is known: an example stands in its place. Null
 * for what cannot be made again from a row, such as a request with several steps.
 */
export function requestOf(row: LogRow, account: string, body: string | null): CopiedRequest | null {
  if (!row.provider || row.request_type === 'universal' || row.request_type === 'websocket') return null;
  const address = { account, gateway: row.gateway, provider: row.provider };
  const path = literally(dataPlanePath(address, row.path));
  if (row.request_type === 'realtime') {
    const model = row.model ? `?${new URLSearchParams({ model: row.model })}` : '';
    return { method: 'GET', url: `${location.origin.replace(/^http/, 'ws')}${path}${model}` };
  }
  const url = location.origin + path;
  const headers = row.request_content_type ? { 'content-type': literally(row.request_content_type) } : {};
  const bodiless = row.method === 'GET' || row.method === 'HEAD' || row.method === 'DELETE';
  if (bodiless) return { method: row.method, url };
  return { method: row.method, url, headers, body: body === null ? exampleFor(row) : bodyOf(body) };
}

/** JSON as a value, so that a chat is known as one; but a text stays as it is where its numbers are too long for JSON here. */
function bodyOf(text: string): unknown {
  return (/\d{16}/.test(text) ? undefined : asObject(parseJson(text))) ?? text;
}

function exampleFor(row: LogRow): unknown {
  if (row.model_type === 'chat') return { model: row.model, messages: [{ role: 'user', content: 'Hello' }] };
  return row.model ? { model: row.model, input: 'Hello' } : {};
}

/** Whether the kept body of a chat can be said again. */
export function isReplayable(row: LogRow): boolean {
  return row.has_payload && row.model_type === 'chat' && row.request_type === 'http';
}

/** The rows of an event of the tail; what is no such event has none. */
export function rowsOf(data: string): readonly LogRow[] {
  const rows = asList(asObject(parseJson(data))?.['logs']) ?? [];
  // A shape is trusted here: it is generated from the server that ships with this page.
  return rows.filter((row) => asString(asObject(row)?.['id']) !== undefined) as readonly LogRow[];
}
