import { afterEach, describe, expect, it, vi } from 'vitest';

import { ApiFailure, ConsoleApi, type OpenSession } from './api/console';
import { hasEnded, pauseAfter, spanOf, tokenCounts } from './sessions';

const SESSION: OpenSession = {
  id: '01A',
  gateway: 'default',
  key_id: '',
  caller: 'no key',
  provider: 'local',
  model: 'local',
  state: 'idle',
  started_at: 0,
  seconds: 1,
  turns: 0,
  tokens: 0,
  cost: null,
  interruptions: 0,
  errors: 0,
  user_agent: '',
};

describe('spanOf', () => {
  it.each([
    [0, '0:00'],
    [-3, '0:00'],
    [59.9, '0:59'],
    [134, '2:14'],
    [3599, '59:59'],
    [3725, '1:02:05'],
  ])('shows %d s as %s', (seconds, text) => expect(spanOf(seconds)).toBe(text));
});

it('asks again ever less often, and at least every fifteen seconds', () => {
  expect([0, 1, 2, 3, 4, 5, 100].map(pauseAfter)).toEqual([
    1_000, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000,
  ]);
});

it('notices when an open session is no more, and not when one is new', () => {
  const other = { ...SESSION, id: '01B' };
  expect(hasEnded([SESSION], [other, SESSION])).toBe(false);
  expect(hasEnded([SESSION, other], [other])).toBe(true);
  expect(hasEnded([], [])).toBe(false);
});

it('names the tokens that were used, and no others', () => {
  expect(tokenCounts({ output_audio: 4, input_text: 3, cached_text: 0 })).toEqual([
    ['input_text', 3],
    ['output_audio', 4],
  ]);
});

describe('the stream of open sessions', () => {
  afterEach(() => vi.unstubAllGlobals());

  function serve(text: string): ReturnType<typeof vi.fn<typeof fetch>> {
    const served = vi.fn<typeof fetch>(async () => new Response(text));
    vi.stubGlobal('fetch', served);
    return served;
  }

  async function read(): Promise<(readonly OpenSession[])[]> {
    const lists = [];
    for await (const list of new ConsoleApi().openSessions(new AbortController().signal)) lists.push(list);
    return lists;
  }

  it('gives each list, and passes over comments and what it does not know', async () => {
    const list = JSON.stringify({ sessions: [SESSION] });
    const served = serve(
      `event: sessions\ndata: ${list}\n\n: still here\n\nevent: other\ndata: {}\n\nevent: sessions\ndata: {"sessions":[]}\n\n`,
    );
    expect(await read()).toEqual([[SESSION], []]);
    const [url, init] = served.mock.calls[0] ?? [];
    expect(url).toBe('/api/realtime/sessions');
    expect(new Headers(init?.headers).get('accept')).toBe('text/event-stream');
  });

  it('ends with the words of a refusal when the key counts no more', async () => {
    serve('event: refused\ndata: {"message": "its key was revoked", "code": "invalid_api_key"}\n\n');
    const failure: unknown = await read().catch((reason: unknown) => reason);
    expect(failure).toBeInstanceOf(ApiFailure);
    expect(failure).toMatchObject({ status: 401, message: 'its key was revoked', code: 'invalid_api_key' });
  });
});
