import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiFailure } from '../api/console';
import { probeFromBrowser, waysOf, type BrowserCell, type BrowserProbe } from './browser';

const SECRET = 'ek_tl_0123456789abcdef';

/** A gateway that knows one secret; `echo` makes it repeat what it was shown. */
class Gateway {
  minted: () => Response = () => Response.json({ value: SECRET });
  readonly credentials: (string | undefined)[] = [];

  fetch: typeof fetch = async (url, init) => {
    if (String(url).endsWith('/client_secrets')) return this.minted();
    this.credentials.push(init?.credentials);
    const shown = new Headers(init?.headers).get('authorization') ?? '';
    if (shown !== `Bearer ${SECRET}`) return refusal(401, `I do not know ${shown}.`);
    return init?.method === 'POST'
      ? refusal(400, `No messages: ${shown.slice(7)}.`)
      : Response.json({ data: [] });
  };

  socket = vi.fn(function (this: Socket, _url: string, protocols: string[]) {
    const known = protocols[1] === `openai-insecure-api-key.${SECRET}`;
    setTimeout(() => {
      this.onopen();
      const refused = { type: 'error', error: { code: 'invalid_api_key', message: protocols[1] } };
      this.onmessage({ data: JSON.stringify(known ? { type: 'session.created' } : refused) });
      if (!known) this.onclose({ code: 3000, reason: '', wasClean: true });
    });
    this.close = () => undefined;
  });
}

interface Socket {
  onopen: () => void;
  onmessage: (event: { data: string }) => void;
  onclose: (event: { code: number; reason: string; wasClean: boolean }) => void;
  close: () => void;
}

function refusal(status: number, message: string): Response {
  const body = { error: { message, type: 'invalid_request_error', code: 'x' } };
  return Response.json(body, { status });
}

function asking(signal = new AbortController().signal): BrowserProbe {
  const address = { account: 'local', gateway: 'default', provider: 'openai' };
  return {
    address,
    modelsPath: 'models',
    chatPath: 'chat/completions',
    model: 'm',
    realtimeModel: 'r',
    signal,
  };
}

async function all(probe: BrowserProbe): Promise<BrowserCell[]> {
  const cells: BrowserCell[] = [];
  for await (const cell of probeFromBrowser(probe)) cells.push(cell);
  return cells;
}

let gateway: Gateway;

beforeEach(() => {
  gateway = new Gateway();
  vi.stubGlobal('fetch', gateway.fetch);
  vi.stubGlobal('WebSocket', gateway.socket);
  vi.stubGlobal('location', { href: 'http://127.0.0.1:8787/probe' });
});
afterEach(() => vi.unstubAllGlobals());

describe('probeFromBrowser', () => {
  it('finds the secret accepted and the unknown one refused, each on every transport', async () => {
    const cells = await all(asking());
    expect(cells.map(({ row, way, verdict, reason }) => `${row} ${way} ${verdict} ${reason}`)).toEqual([
      'client-secret http accepted answered',
      'client-secret sse accepted request-read',
      'client-secret realtime-browser accepted session',
      'unknown-secret http refused refused',
      'unknown-secret sse refused refused',
      'unknown-secret realtime-browser refused refused',
    ]);
    expect(cells.map(({ status, close_code }) => status ?? close_code)).toEqual([
      200,
      400,
      null,
      401,
      401,
      3000,
    ]);
  });

  it('shows no secret, not even where the other side repeats it', async () => {
    const cells = await all(asking());
    expect(JSON.stringify(cells)).not.toContain('ek_tl_');
    expect(cells[1]?.first_frame).toContain('No messages: [client secret].');
    expect(cells[5]?.first_frame).toContain('openai-insecure-api-key.[unknown secret]');
    expect(cells[2]?.request).toBe(
      'GET ws://127.0.0.1:8787/v1/local/default/openai/realtime?model=r\n' +
        'sec-websocket-protocol: realtime, openai-insecure-api-key.[client secret]',
    );
  });

  it('relies on no cookie', async () => {
    await all(asking());
    expect(new Set(gateway.credentials)).toEqual(new Set(['omit']));
  });

  it('has no column for what the provider lacks', () => {
    expect(waysOf({ modelsPath: null, chatPath: null })).toEqual(['realtime-browser']);
  });

  it('tells why it was given no secret', async () => {
    gateway.minted = () => refusal(401, 'There is no key.');
    await expect(all(asking())).rejects.toThrow(ApiFailure);
  });

  it('goes on where nobody answers, and ends when it is told to', async () => {
    const stop = new AbortController();
    vi.stubGlobal('fetch', async (url: string) => {
      if (url.endsWith('/client_secrets')) return Response.json({ value: SECRET });
      throw new TypeError('failed to fetch');
    });
    const cells = probeFromBrowser(asking(stop.signal));
    const { value } = await cells.next();
    expect(value).toMatchObject({ verdict: 'unreachable', reason: 'no-answer', milliseconds: null });
    stop.abort();
    await expect(cells.next()).rejects.toThrow(DOMException);
  });
});
