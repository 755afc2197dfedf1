/** The cells of the auth matrix that a page can ask by itself: with a client secret, since it is given no key. */

import { ERROR_CODE_HEADER } from '../../gen/constants';
import { dataPlanePath, voicePath, type ProviderAddress } from '../api/addresses';
import { mintClientSecret } from '../api/client-secret';
import type { ProbeCell } from '../api/console';
import { asObject, asString, parseJson } from '../narrow';
import { readText } from '../read-text';
import { TransportFailure, WebSocketTransport, type TransportClose } from '../realtime/transport';
import { readSse } from '../sse';
import {
  NO_ANSWER,
  readHttp,
  readSocket,
  type HttpAnswer,
  type Reading,
  type Reason,
  type SocketAnswer,
} from './browser-reading';

/** The second is the control: a secret of the same form that nobody was given. */
export const BROWSER_ROWS = ['client-secret', 'unknown-secret'] as const;
export type BrowserRow = (typeof BROWSER_ROWS)[number];

/** As the server names its columns. */
export type BrowserWay = 'http' | 'sse' | 'realtime-browser';

export interface BrowserCell extends Omit<ProbeCell, 'type' | 'why'> {
  readonly reason: Reason;
}

export interface BrowserProbe {
  readonly address: ProviderAddress;
  /** null where the provider has none; then there is no such column. */
  readonly modelsPath: string | null;
  readonly chatPath: string | null;
  readonly model: string;
  readonly realtimeModel: string;
  readonly signal: AbortSignal;
}

const PATIENCE_MS = 10_000;
/** An error event is followed by a close at once; a server that forgets it is not waited for long. */
const CLOSE_PATIENCE_MS = 2_000;
const LONGEST_FRAME = 600;
const LONGEST_BODY = 64 * 1024;
const JSON_BODY = { 'content-type': 'application/json' };

export function waysOf({
  modelsPath,
  chatPath,
}: Pick<BrowserProbe, 'modelsPath' | 'chatPath'>): BrowserWay[] {
  return [
    ...(modelsPath === null ? [] : ['http' as const]),
    ...(chatPath === null ? [] : ['sse' as const]),
    'realtime-browser',
  ];
}

/** Ask every cell, one after the other. Throws `ApiFailure` where no secret is given, and the signal's reason. */
export async function* probeFromBrowser(probe: BrowserProbe): AsyncGenerator<BrowserCell> {
  const secret = await mintClientSecret({ address: probe.address, uses: 0, signal: probe.signal });
  const shown = { 'client-secret': secret.value, 'unknown-secret': unknownSecret() };
  for (const row of BROWSER_ROWS) {
    for (const way of waysOf(probe)) yield await cellOf(probe, row, way, shown[row]);
  }
}

/** No gateway takes it for a provider's key and sends it on. */
function unknownSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return `ek_tl_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

interface Observation {
  readonly reading: Reading;
  readonly text: string;
  readonly status?: number;
  readonly closeCode?: number;
}

async function cellOf(
  probe: BrowserProbe,
  row: BrowserRow,
  way: BrowserWay,
  secret: string,
): Promise<BrowserCell> {
  const started = performance.now();
  const seen = await observe(probe, way, secret);
  probe.signal.throwIfAborted();
  return {
    row,
    way,
    verdict: seen.reading.verdict,
    reason: seen.reading.reason,
    milliseconds: seen.reading === NO_ANSWER ? null : performance.now() - started,
    status: seen.status ?? null,
    close_code: seen.closeCode ?? null,
    first_frame: seen.text.slice(0, LONGEST_FRAME).replaceAll(secret, placeholder(row)),
    request: requestFor(probe, way, placeholder(row)),
  };
}

/** What stands for a row's secret wherever people look. */
export function placeholder(row: BrowserRow): string {
  return row === 'client-secret' ? '[client secret]' : '[unknown secret]';
}

async function observe(probe: BrowserProbe, way: BrowserWay, secret: string): Promise<Observation> {
  const patience = AbortSignal.any([probe.signal, AbortSignal.timeout(PATIENCE_MS)]);
  try {
    if (way !== 'realtime-browser') {
      const answer = await askHttp(probe, way, secret, patience);
      return { reading: readHttp(answer, way === 'sse'), text: answer.body, status: answer.status };
    }
    const answer = await askSocket(probe, secret, patience);
    return {
      reading: readSocket(answer),
      text: answer.frame,
      ...(answer.close ? { closeCode: answer.close.code } : {}),
    };
  } catch {
    return { reading: NO_ANSWER, text: '' }; // broken off or too late; a page is not told more
  }
}

async function askHttp(
  probe: BrowserProbe,
  way: 'http' | 'sse',
  secret: string,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const body = bodyFor(probe, way);
  const response = await fetch(pathFor(probe, way), {
    method: body === null ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${secret}`, ...(body === null ? {} : JSON_BODY) },
    ...(body === null ? {} : { body }),
    // The page's own cookie would speak for it too; what is asked here is whether the secret alone is enough.
    credentials: 'omit',
    cache: 'no-store',
    signal,
  });
  const fromGateway = response.headers.has(ERROR_CODE_HEADER);
  return { status: response.status, fromGateway, body: await beginningOf(response) };
}

/** The data of a stream's first event, else as much of the body as is worth showing. */
async function beginningOf(response: Response): Promise<string> {
  if (!response.body) return '';
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
    for await (const { data } of readSse(response.body)) return data;
    return '';
  }
  let beginning = '';
  for await (const text of readText(response.body)) {
    beginning += text;
    if (beginning.length >= LONGEST_BODY) break;
  }
  return beginning;
}

/** A browser sends its cookie with every WebSocket; a secret that is shown counts before it. */
async function askSocket(probe: BrowserProbe, secret: string, signal: AbortSignal): Promise<SocketAnswer> {
  const transport = new WebSocketTransport(async () => ({
    url: voicePath(probe.address, probe.realtimeModel),
    protocols: ['realtime', `openai-insecure-api-key.${secret}`],
  }));
  signal.addEventListener('abort', () => transport.close());
  const answer = answerOf(transport);
  try {
    await transport.open();
    return await answer;
  } catch (error) {
    if (error instanceof TransportFailure) return { frame: '', close: error.close };
    throw error;
  } finally {
    transport.close();
  }
}

function answerOf(transport: WebSocketTransport): Promise<SocketAnswer> {
  return new Promise((resolve) => {
    let frame = '';
    const done = (close: TransportClose | null): void => resolve({ frame, close });
    transport.onEvent = (text) => {
      frame ||= text;
      if (asString(asObject(parseJson(text))?.['type']) !== 'error') done(null);
      else setTimeout(() => done(null), CLOSE_PATIENCE_MS);
    };
    transport.onClose = done;
  });
}

function pathFor(probe: BrowserProbe, way: BrowserWay): string {
  switch (way) {
    case 'http':
      return dataPlanePath(probe.address, probe.modelsPath ?? '');
    case 'sse':
      return dataPlanePath(probe.address, probe.chatPath ?? '');
    case 'realtime-browser':
      return voicePath(probe.address, probe.realtimeModel);
  }
}

/** A stream is asked for with no message in it: nothing is answered to that, and nothing paid. */
function bodyFor({ model }: BrowserProbe, way: BrowserWay): string | null {
  return way === 'sse' ? JSON.stringify({ model, messages: [], max_tokens: 1, stream: true }) : null;
}

/** What is sent, for people: one header a line, the secret replaced by what it is. */
function requestFor(probe: BrowserProbe, way: BrowserWay, shown: string): string {
  const body = bodyFor(probe, way);
  const url = new URL(pathFor(probe, way), location.href);
  if (way === 'realtime-browser') {
    url.protocol = url.protocol.replace(/^http/, 'ws');
    return `GET ${url.href}\nsec-websocket-protocol: realtime, openai-insecure-api-key.${shown}`;
  }
  const head = `${body === null ? 'GET' : 'POST'} ${url.href}\nauthorization: Bearer ${shown}`;
  return body === null ? head : `${head}\ncontent-type: ${JSON_BODY['content-type']}\n\n${body}`;
}
