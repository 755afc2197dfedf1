import { afterEach, describe, expect, it, vi } from 'vitest';

import { ApiFailure, ConsoleApi } from './console';

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
    await api.direct('openai', 'gpt-realtime');
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

  it('leaves an aborted request to the one who aborted it', async () => {
    const controller = new AbortController();
    controller.abort();
    vi.stubGlobal('fetch', async () => {
      throw new DOMException('aborted', 'AbortError');
    });
    await expect(new ConsoleApi().config(controller.signal)).rejects.toThrow(DOMException);
  });
});
