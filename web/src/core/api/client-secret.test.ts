// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from 'vitest';

import { throughGateway } from '../realtime/through-gateway';
import { voicePath } from './addresses';
import { mintClientSecret } from './client-secret';
import { ApiFailure } from './console';

const ADDRESS = { account: 'local', gateway: 'my gateway', provider: 'openai' };

function serve(answer: () => Response | Promise<Response>): ReturnType<typeof vi.fn<typeof fetch>> {
  const served = vi.fn<typeof fetch>(async () => answer());
  vi.stubGlobal('fetch', served);
  return served;
}

function mint(model?: string): ReturnType<typeof mintClientSecret> {
  const { signal } = new AbortController();
  return mintClientSecret({ address: ADDRESS, uses: 1, signal, ...(model && { model }) });
}

async function failureOf(promise: Promise<unknown>): Promise<ApiFailure> {
  const error: unknown = await promise.catch((reason: unknown) => reason);
  if (!(error instanceof ApiFailure)) throw new Error(`not an ApiFailure: ${String(error)}`);
  return error;
}

afterEach(() => vi.unstubAllGlobals());

describe('mintClientSecret', () => {
  it('asks for a minute, as often as is wished, and always for one of the gateway', async () => {
    const served = serve(() =>
      Response.json({ value: 'ek_tl_x', expires_at: 1, session: {}, trunkline: { id: 'sec_1' } }),
    );
    expect(await mint()).toEqual({ value: 'ek_tl_x', id: 'sec_1' });
    const [url, init] = served.mock.calls[0] ?? [];
    expect(url).toBe('/v1/local/my%20gateway/openai/realtime/client_secrets');
    expect(init).toMatchObject({ method: 'POST', cache: 'no-store' });
    expect(new Headers(init?.headers).get('x-trunkline-client-secrets')).toBe('brokered');
    expect(JSON.parse(String(init?.body))).toEqual({
      expires_after: { anchor: 'created_at', seconds: 60 },
      session: { type: 'realtime' },
      trunkline: { uses: 1 },
    });
  });

  it('binds the secret to a model where one is named', async () => {
    const served = serve(() => Response.json({ value: 'ek_tl_x' }));
    await mint('gpt-realtime');
    const body: unknown = JSON.parse(String(served.mock.calls[0]?.[1]?.body));
    expect(body).toMatchObject({ session: { type: 'realtime', model: 'gpt-realtime' } });
  });

  it.each([
    ['OpenAI', { error: { message: 'no key', type: 't', code: 'no_provider_key' } }, 'no_provider_key'],
    ['Anthropic', { type: 'error', error: { type: 'authentication_error', message: 'no key' } }, 'authent'],
    ['Google', { error: { code: 401, message: 'no key', status: 'UNAUTHENTICATED' } }, 'UNAUTHENTICATED'],
  ])('tells the words of a refusal in the manner of %s', async (_, body, code) => {
    serve(() => Response.json(body, { status: 401 }));
    const failure = await failureOf(mint());
    expect(failure).toMatchObject({ status: 401, message: 'no key', isAbsence: false });
    expect(failure.code).toContain(code);
  });

  it('tells a gateway that is away from one that refuses', async () => {
    serve(() => Promise.reject(new TypeError('failed to fetch')));
    expect(await failureOf(mint())).toMatchObject({ status: 0, code: 'unreachable', isAbsence: true });
    serve(() => new Response('<html>Bad Gateway', { status: 502 }));
    expect(await failureOf(mint())).toMatchObject({ status: 502, code: 'http_502', isAbsence: true });
    serve(() => Response.json({ error: { message: 'broken', code: 'internal_error' } }, { status: 500 }));
    expect(await failureOf(mint())).toMatchObject({ status: 500, isAbsence: false });
  });

  it('does not take another answer for a secret', async () => {
    serve(() => new Response('<html>'));
    expect(await failureOf(mint())).toMatchObject({ status: 200, code: 'no_client_secret' });
  });
});

it('a call through the gateway shows a secret of its own, and the next call another', async () => {
  const offered: string[][] = [];
  const socket = vi.fn(function (_url: string, protocols: string[]) {
    offered.push(protocols);
  });
  vi.stubGlobal('WebSocket', socket);
  let minted = 0;
  serve(() => Response.json({ value: `ek_tl_${(minted += 1)}` }));
  void throughGateway(ADDRESS, 'gpt-realtime').open();
  void throughGateway(ADDRESS, 'gpt-realtime').open();
  await vi.waitFor(() => expect(offered).toHaveLength(2));
  expect(offered).toEqual([
    ['realtime', 'openai-insecure-api-key.ek_tl_1'],
    ['realtime', 'openai-insecure-api-key.ek_tl_2'],
  ]);
});

it('names the path of a voice on the gateway, whatever characters a model has', () => {
  expect(voicePath(ADDRESS, 'a b/c')).toBe('/v1/local/my%20gateway/openai/realtime?model=a%20b%2Fc');
});
