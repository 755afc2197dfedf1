import { afterEach, describe, expect, it, vi } from 'vitest';

import { ApiFailure, ConsoleApi } from './console';

const REQUEST = {
  target: null,
  provider: 'local',
  model: '',
  realtime_model: '',
  provider_key: '',
  gateway_key: '',
  use_session_keys: true,
  allow_billable: false,
};

function serve(response: () => Response): ReturnType<typeof vi.fn<typeof fetch>> {
  const served = vi.fn<typeof fetch>(async () => response());
  vi.stubGlobal('fetch', served);
  return served;
}

async function failureOf(promise: Promise<unknown>): Promise<ApiFailure> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiFailure)) throw new Error(`not an ApiFailure: ${String(error)}`);
  return error;
}

afterEach(() => vi.unstubAllGlobals());

describe('ConsoleApi', () => {
  it('marks every change as coming from the console, and no reading', async () => {
    const served = serve(() => Response.json({}));
    const api = new ConsoleApi('http://gateway');
    await api.config();
    await api.session();
    await api.changeSession({ model: 'local' });
    await api.endSession();
    await api.direct('openai', 'gpt-realtime', new AbortController().signal);
    const calls = served.mock.calls.map(([url, init]) => {
      const marked = new Headers(init?.headers).get('x-trunkline-console');
      return `${init?.method} ${String(url)} ${marked}`;
    });
    expect(calls).toEqual([
      'GET http://gateway/api/config null',
      'GET http://gateway/api/session null',
      'PUT http://gateway/api/session 1',
      'DELETE http://gateway/api/session 1',
      'POST http://gateway/api/direct 1',
    ]);
    expect(served.mock.calls[2]?.[1]?.body).toBe('{"model":"local"}');
  });

  it('throws what the server says', async () => {
    const error = { message: 'no key', type: 'invalid_request_error', code: 'no_provider_key' };
    serve(() => Response.json({ error }, { status: 401 }));
    expect(await failureOf(new ConsoleApi().session())).toMatchObject({
      status: 401,
      code: 'no_provider_key',
      message: 'no key',
    });
  });

  it('names the fields that the server could not read', async () => {
    const detail = [{ loc: ['body', 'model'], msg: 'String should have at least 1 character' }];
    serve(() => Response.json({ detail }, { status: 422 }));
    expect((await failureOf(new ConsoleApi().session())).message).toBe(
      'model: String should have at least 1 character',
    );
  });

  it('has words for an answer without any, and for no answer', async () => {
    serve(() => new Response('<html>', { status: 502 }));
    expect(await failureOf(new ConsoleApi().session())).toMatchObject({ status: 502, code: 'http_502' });
    vi.stubGlobal('fetch', async () => {
      throw new TypeError('failed to fetch');
    });
    expect(await failureOf(new ConsoleApi().session())).toMatchObject({ status: 0, code: 'unreachable' });
  });

  it('reads the lines of a probe, whatever else comes between them', async () => {
    const lines = ['{"type":"plan","cells":2}', '{"type":"news"}', '', 'null', '{"type":"cell"}'];
    const served = serve(() => new Response(lines.join('\n')));
    const types: string[] = [];
    const run = new ConsoleApi().probe(REQUEST, new AbortController().signal);
    for await (const line of run) types.push(line.type);
    expect(types).toEqual(['plan', 'cell']);
    expect(new Headers(served.mock.calls[0]?.[1]?.headers).get('x-trunkline-console')).toBe('1');
    serve(() => Response.json({ error: { message: 'private', code: 'not_permitted' } }, { status: 403 }));
    const refused = new ConsoleApi().probe(REQUEST, new AbortController().signal);
    expect(await failureOf(refused.next())).toMatchObject({ status: 403, message: 'private' });
  });

  it('leaves an aborted request to the one who aborted it', async () => {
    const controller = new AbortController();
    controller.abort();
    vi.stubGlobal('fetch', async () => {
      throw new DOMException('aborted', 'AbortError');
    });
    await expect(new ConsoleApi().config(controller.signal)).rejects.toThrow(DOMException);
  });
});
