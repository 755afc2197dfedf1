import { afterEach, describe, expect, it, vi } from 'vitest';

import type { LogRow } from './api/logs';
import { filtersOf } from './filters';
import {
  askedBy,
  columnsOf,
  kindOf,
  merged,
  queryOf,
  requestOf,
  rowsOf,
  SHOWN_BODY,
  shownBody,
  stretchesOf,
  USUAL_COLUMNS,
  withColumns,
} from './logs';
import { variablesOf } from './request-copy';

function row(change: Partial<LogRow> = {}): LogRow {
  const some = {
    id: 'B',
    gateway: 'default',
    provider: 'openai',
    model: 'gpt-4o',
    model_type: 'chat',
    method: 'POST',
    path: 'chat/completions',
    request_type: 'http',
    request_content_type: 'application/json',
    response_content_type: 'text/event-stream; charset=utf-8',
    status: 200,
    cached: false,
    duration_ms: 1000,
    connect_ms: 50,
    first_byte_ms: 400,
    caller: 'dev',
    key_id: 'K1',
  };
  return { ...some, ...change } as LogRow;
}

describe('the list', () => {
  it('puts what came in order, each row once, and lets the oldest go', () => {
    const shown = [row({ id: 'C' }), row({ id: 'A' })];
    const came = [row({ id: 'B' }), row({ id: 'C', status: 500 })];
    expect(merged(shown, came).map(({ id, status }) => [id, status])).toEqual([
      ['C', 500],
      ['B', 200],
      ['A', 200],
    ]);
    expect(merged(shown, came, 2).map(({ id }) => id)).toEqual(['C', 'B']);
  });

  it('keeps its columns in the address', () => {
    const query = withColumns(new URLSearchParams('range=1h'), ['time', 'model', 'user']);
    expect(columnsOf(query)).toEqual(['time', 'model', 'user']);
    expect(query.get('range')).toBe('1h');
    expect(withColumns(query, USUAL_COLUMNS).has('columns')).toBe(false);
    expect(columnsOf(new URLSearchParams('columns=junk'))).toEqual(['time']);
  });

  it('asks the gateway in the words of the filter bar', () => {
    const filters = filtersOf(new URLSearchParams('q=status:>%3D400 model:a,"b c" lost'), '1h');
    expect([...queryOf(filters, 10_000)]).toEqual([
      ['filter', 'status:>=400'],
      ['filter', 'model:a,"b c"'],
      ['search', 'lost'],
      ['since', '6400'],
    ]);
    const fixed = filtersOf(new URLSearchParams('since=1&until=2'), '1h');
    expect(String(queryOf(fixed, 10_000))).toBe('since=1&until=2');
    expect(String(queryOf(fixed))).toBe('');
  });

  it('knows what a cell can be filtered by', () => {
    expect(askedBy(row(), 'kind')).toEqual(['kind', 'sse']);
    expect(askedBy(row(), 'key')).toEqual(['key', 'K1']);
    expect(askedBy(row({ model: '' }), 'model')).toBeNull();
    expect(askedBy(row(), 'total')).toBeNull();
    expect(kindOf(row({ request_type: 'realtime' }))).toBe('realtime');
  });

  it('reads the events of the tail, and nothing from what is none', () => {
    expect(rowsOf('{"logs": [{"id": "A"}, {}, null]}').map(({ id }) => id)).toEqual(['A']);
    expect(rowsOf('{')).toEqual([]);
  });
});

describe('a request', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('has its time in stretches that make up the whole', () => {
    expect(stretchesOf(row())).toEqual([
      { name: 'connect', from: 0, to: 50 },
      { name: 'wait', from: 50, to: 400 },
      { name: 'stream', from: 400, to: 1000 },
    ]);
    // Clocks of two measurements may disagree by a little.
    expect(stretchesOf(row({ connect_ms: 2000, first_byte_ms: 3000 }))).toEqual([
      { name: 'connect', from: 0, to: 1000 },
    ]);
    expect(stretchesOf(row({ connect_ms: null, first_byte_ms: null }))).toEqual([]);
  });

  it('shows no more of a body than a page can hold', () => {
    expect(shownBody('{"a":1}')).toEqual({ text: '{\n  "a": 1\n}', isCut: false });
    const { text, isCut } = shownBody('x'.repeat(SHOWN_BODY + 1));
    expect([text.length, isCut]).toEqual([SHOWN_BODY, true]);
  });

  it('is copied with its body, with an example in its place, or not at all', () => {
    vi.stubGlobal('location', { origin: 'http://gw', href: 'http://gw/logs' });
    const url = 'http://gw/v1/acct/default/openai/chat/completions';
    expect(requestOf(row(), 'acct', '{"model":"m"}')).toMatchObject({ url, body: { model: 'm' } });
    expect(requestOf(row(), 'acct', '{"n":12345678901234567890}')?.body).toBe('{"n":12345678901234567890}');
    expect(requestOf(row(), 'acct', null)?.body).toMatchObject({ model: 'gpt-4o' });
    expect(requestOf(row({ method: 'GET', path: 'models' }), 'acct', null)?.body).toBeUndefined();
    const session = row({ request_type: 'realtime', method: 'GET', path: 'realtime' });
    expect(requestOf(session, 'acct', null)?.url).toBe(
      'ws://gw/v1/acct/default/openai/realtime?model=gpt-4o',
    );
    expect(requestOf(row({ request_type: 'universal' }), 'acct', null)).toBeNull();
    const theirs = { path: 'a/${HOME}', request_content_type: '${HOME}' };
    expect(variablesOf(requestOf(row(theirs), 'acct', '') ?? { method: '', url })).toEqual([]);
  });
});
