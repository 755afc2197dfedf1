/** How realtime events travel: to the gateway, to a provider directly, or to a test. */

import { asString } from '../narrow';
import type { ClientEvent } from './events';

export interface TransportClose {
  readonly code: number;
  readonly reason: string;
  readonly wasClean: boolean;
}

export interface RealtimeTransport {
  /** Bytes accepted by `send` and not yet given to the network. */
  readonly bufferedAmount: number;
  /** Set both before `open`. */
  onEvent: (text: string) => void;
  /** Called once, for a connection that was open. */
  onClose: (close: TransportClose) => void;
  /** Rejects with `TransportFailure` when the connection does not come about. */
  open(): Promise<void>;
  /** After the connection has closed, events are dropped. */
  send(event: ClientEvent): void;
  close(code?: number, reason?: string): void;
}

export class TransportFailure extends Error {
  override readonly name = 'TransportFailure';

  constructor(readonly close: TransportClose) {
    super(close.reason || `The connection was closed with code ${close.code}.`);
  }
}

const NORMAL_CLOSURE = 1000;

export class WebSocketTransport implements RealtimeTransport {
  onEvent: (text: string) => void = () => undefined;
  onClose: (close: TransportClose) => void = () => undefined;
  #socket: WebSocket | null = null;
  #decoder = new TextDecoder();

  /** `url` may be relative to the page. `protocols` may carry a secret: they are shown nowhere. */
  constructor(
    private readonly url: string,
    private readonly protocols: readonly string[],
  ) {}

  get bufferedAmount(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(webSocketUrl(this.url), [...this.protocols]);
      socket.binaryType = 'arraybuffer';
      let opened = false;
      socket.onopen = () => {
        opened = true;
        resolve();
      };
      socket.onmessage = ({ data }: MessageEvent<unknown>) => this.#received(data);
      socket.onclose = ({ code, reason, wasClean }) => {
        const close = { code, reason, wasClean };
        if (opened) this.onClose(close);
        else reject(new TransportFailure(close));
      };
      this.#socket = socket;
    });
  }

  send(event: ClientEvent): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(event));
  }

  close(code: number = NORMAL_CLOSURE, reason = ''): void {
    this.#socket?.close(code, reason);
  }

  #received(data: unknown): void {
    const text = data instanceof ArrayBuffer ? this.#decoder.decode(data) : asString(data);
    if (text !== undefined) this.onEvent(text);
  }
}

/** A connection in memory: a test plays the server. */
export class MemoryTransport implements RealtimeTransport {
  onEvent: (text: string) => void = () => undefined;
  onClose: (close: TransportClose) => void = () => undefined;
  bufferedAmount = 0;
  isOpen = false;
  readonly sent: ClientEvent[] = [];
  closedBy: { readonly code: number; readonly reason: string } | null = null;

  /** With `refusal` the connection does not come about. */
  constructor(private readonly refusal: TransportClose | null = null) {}

  async open(): Promise<void> {
    if (this.refusal) throw new TransportFailure(this.refusal);
    this.isOpen = true;
  }

  send(event: ClientEvent): void {
    if (this.isOpen) this.sent.push(event);
  }

  close(code: number = NORMAL_CLOSURE, reason = ''): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.closedBy = { code, reason };
    this.onClose({ code, reason, wasClean: true });
  }

  /** The server says something. */
  deliver(event: object): void {
    this.onEvent(JSON.stringify(event));
  }

  /** The server, or the network, ends the connection. */
  drop(close: TransportClose): void {
    this.isOpen = false;
    this.onClose(close);
  }
}

export interface GatewayAddress {
  readonly account: string;
  readonly gateway: string;
  readonly provider: string;
  readonly model: string;
}

export const GATEWAY_PROTOCOLS: readonly string[] = ['realtime'];

/** The path and query of a provider's voice on the gateway that served this page. */
export function gatewayVoicePath({ account, gateway, provider, model }: GatewayAddress): string {
  const path = [account, gateway, provider].map(encodeURIComponent).join('/');
  return `/v1/${path}/realtime?model=${encodeURIComponent(model)}`;
}

/** `http` becomes `ws`, also where the URL is relative to an http page: not every browser does so itself. */
function webSocketUrl(url: string): string {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, 'ws');
  return absolute.href;
}
