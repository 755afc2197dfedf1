// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { TransportFailure, WebSocketTransport } from './transport';

class FakeSocket {
  static readonly OPEN = 1;
  static last: FakeSocket;
  readyState = 0;
  bufferedAmount = 7;
  binaryType = 'blob';
  readonly sent: string[] = [];
  onopen: () => void = () => undefined;
  onmessage: (event: { data: unknown }) => void = () => undefined;
  onclose: (event: { code: number; reason: string; wasClean: boolean }) => void = () => undefined;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.last = this;
  }

  open(): void {
    this.readyState = 1;
    this.onopen();
  }

  send(text: string): void {
    this.sent.push(text);
  }
}

beforeEach(() => vi.stubGlobal('WebSocket', FakeSocket));
afterEach(() => vi.unstubAllGlobals());

/** A transport whose destination is known, and what becomes of opening it. */
async function dialled(url: string): Promise<{ transport: WebSocketTransport; opening: Promise<void> }> {
  const transport = new WebSocketTransport(async () => ({ url, protocols: ['realtime'] }));
  const opening = transport.open();
  await Promise.resolve();
  return { transport, opening };
}

describe('WebSocketTransport', () => {
  it('opens a WebSocket relative to the page, encrypted where the page is', async () => {
    const dial = async (href: string) => {
      vi.stubGlobal('location', { href });
      await dialled('/v1/a/g/openai/realtime?model=m');
      return FakeSocket.last;
    };
    expect((await dial('http://127.0.0.1:8787/voice')).url).toBe(
      'ws://127.0.0.1:8787/v1/a/g/openai/realtime?model=m',
    );
    const secure = await dial('https://gateway.test/voice');
    expect(secure.url).toBe('wss://gateway.test/v1/a/g/openai/realtime?model=m');
    expect(secure.protocols).toEqual(['realtime']);
  });

  it('keeps nothing of what it offers', async () => {
    const transport = new WebSocketTransport(async () => ({ url: '/', protocols: ['x.a-secret'] }));
    void transport.open();
    await Promise.resolve();
    expect(FakeSocket.last.protocols).toEqual(['x.a-secret']);
    expect(JSON.stringify(transport)).not.toContain('a-secret');
  });

  it('can be given up while its destination is being asked for', async () => {
    const asked: AbortSignal[] = [];
    const transport = new WebSocketTransport(async (signal) => {
      asked.push(signal);
      return { url: '/late', protocols: [] };
    });
    const opening = transport.open();
    transport.close();
    await expect(opening).rejects.toThrow(DOMException);
    expect(asked[0]?.aborted).toBe(true);
    expect(FakeSocket.last?.url).not.toContain('late');
  });

  it('carries events both ways, in text and in bytes', async () => {
    const { transport, opening } = await dialled('ws://gateway.test/');
    const heard: string[] = [];
    transport.onEvent = (text) => heard.push(text);
    transport.send({ type: 'response.create' });
    FakeSocket.last.open();
    await opening;
    transport.send({ type: 'response.cancel' });
    FakeSocket.last.onmessage({ data: '{"type":"a"}' });
    FakeSocket.last.onmessage({ data: new TextEncoder().encode('{"type":"ä"}').buffer });
    expect(FakeSocket.last.sent).toEqual(['{"type":"response.cancel"}']);
    expect(heard).toEqual(['{"type":"a"}', '{"type":"ä"}']);
    expect(transport.bufferedAmount).toBe(7);
  });

  it('rejects when the connection does not come about, and reports the end of one that did', async () => {
    const close = { code: 1006, reason: '', wasClean: false };
    const ends: number[] = [];
    const refused = await dialled('ws://gateway.test/');
    refused.transport.onClose = ({ code }) => ends.push(code);
    FakeSocket.last.onclose(close);
    await expect(refused.opening).rejects.toThrow(TransportFailure);
    expect(ends).toEqual([]);
    const open = await dialled('ws://gateway.test/');
    open.transport.onClose = ({ code }) => ends.push(code);
    FakeSocket.last.open();
    await open.opening;
    FakeSocket.last.onclose({ ...close, code: 1001 });
    expect(ends).toEqual([1001]);
  });

  it('rejects an address that is none', async () => {
    await expect((await dialled('http://[')).opening).rejects.toThrow();
  });
});
