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
  /** Rejects with `TransportFailure` or `ApiFailure` when the connection does not come about. */
  open(): Promise<void>;
  /** After the connection has closed, events are dropped. */
  send(event: ClientEvent): void;
  /** Before the connection has come about, that is given up. */
  close(code?: number, reason?: string): void;
}

export class TransportFailure extends Error {
  override readonly name = 'TransportFailure';

  constructor(readonly close: TransportClose) {
    super(close.reason || `The connection was closed with code ${close.code}.`);
  }
}

const NORMAL_CLOSURE = 1000;

/** Where to dial, relative to the page or absolute, and the sub-protocols to offer. */
export interface Destination {
  readonly url: string;
  readonly protocols: readonly string[];
}

export class WebSocketTransport implements RealtimeTransport {
  onEvent: (text: string) => void = () => undefined;
  onClose: (close: TransportClose) => void = () => undefined;
  #socket: WebSocket | null = null;
  #decoder = new TextDecoder();
  readonly #givenUp = new AbortController();

  /** The destination is asked for when it is dialled and then forgotten: its sub-protocols may carry a secret. */
  constructor(private readonly destination: (signal: AbortSignal) => Promise<Destination>) {}

  get bufferedAmount(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  async open(): Promise<void> {
    const { url, protocols } = await this.destination(this.#givenUp.signal);
    this.#givenUp.signal.throwIfAborted();
    await this.#dial(new WebSocket(webSocketUrl(url), [...protocols]));
  }

  send(event: ClientEvent): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(event));
  }

  close(code: number = NORMAL_CLOSURE, reason = ''): void {
    this.#givenUp.abort();
    this.#socket?.close(code, reason);
  }

  #dial(socket: WebSocket): Promise<void> {
    return new Promise((resolve, reject) => {
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
  constructor(private readonly refusal: Error | null = null) {}

  async open(): Promise<void> {
    if (this.refusal) throw this.refusal;
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

/** `http` becomes `ws`, also where the URL is relative to an http page: not every browser does so itself. */
function webSocketUrl(url: string): string {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, 'ws');
  return absolute.href;
}
