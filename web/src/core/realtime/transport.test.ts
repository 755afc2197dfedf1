import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { gatewayVoicePath, TransportFailure, WebSocketTransport } from './transport';

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

describe('WebSocketTransport', () => {
  it('opens a WebSocket relative to the page, encrypted where the page is', () => {
    const dial = (href: string) => {
      vi.stubGlobal('location', { href });
      void new WebSocketTransport('/v1/a/g/openai/realtime?model=m', ['realtime']).open();
      return FakeSocket.last;
    };
    expect(dial('http://127.0.0.1:8787/voice').url).toBe(
      'ws://127.0.0.1:8787/v1/a/g/openai/realtime?model=m',
    );
    expect(dial('https://gateway.test/voice').url).toBe('wss://gateway.test/v1/a/g/openai/realtime?model=m');
    expect(dial('https://gateway.test/voice').protocols).toEqual(['realtime']);
  });

  it('carries events both ways, in text and in bytes', async () => {
    const transport = new WebSocketTransport('ws://gateway.test/', ['realtime']);
    const heard: string[] = [];
    transport.onEvent = (text) => heard.push(text);
    const opening = transport.open();
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
    const transport = new WebSocketTransport('ws://gateway.test/', []);
    transport.onClose = ({ code }) => ends.push(code);
    const refused = transport.open();
    FakeSocket.last.onclose(close);
    await expect(refused).rejects.toThrow(TransportFailure);
    expect(ends).toEqual([]);
    const opening = transport.open();
    FakeSocket.last.open();
    await opening;
    FakeSocket.last.onclose({ ...close, code: 1001 });
    expect(ends).toEqual([1001]);
  });

  it('rejects an address that is none', async () => {
    await expect(new WebSocketTransport('http://[', []).open()).rejects.toThrow();
  });
});

it('names the path of a voice on the gateway, whatever characters a model has', () => {
  expect(gatewayVoicePath({ account: 'local', gateway: 'default', provider: 'openai', model: 'a b/c' })).toBe(
    '/v1/local/default/openai/realtime?model=a%20b%2Fc',
  );
});
