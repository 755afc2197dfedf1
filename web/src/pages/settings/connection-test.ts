/** Asks a provider through the gateway once over each transport. */
import type { ProviderAddress } from '../../core/api/addresses';
import { ApiFailure } from '../../core/api/console';
import { ChatFailure, listModels, streamChat } from '../../core/chat';
import { parseServerEvent } from '../../core/realtime/events';
import { throughGateway } from '../../core/realtime/through-gateway';
import { TransportFailure, type RealtimeTransport } from '../../core/realtime/transport';

export const PATIENCE_SECONDS = 20;

/** `told`: somebody said why; `closed`: a WebSocket ended, by its close code, before its session began. */
export type Reason =
  | { readonly kind: 'told'; readonly status: number; readonly message: string }
  | { readonly kind: 'closed'; readonly code: number }
  | { readonly kind: 'timeout' };

/** `ms`: from asking to the first proof that it works, or to the failure. */
export type Verdict =
  | { readonly works: true; readonly ms: number }
  | { readonly works: false; readonly ms: number; readonly reason: Reason };

/** A list of models over plain HTTP. */
export function testHttp(url: string): Promise<Verdict> {
  return judged(async (signal) => {
    await listModels(url, signal);
  });
}

/** The first words of a streamed answer, limited to one token. */
export function testStream(endpoint: string, model: string): Promise<Verdict> {
  return judged(async (signal) => {
    const messages = [{ role: 'user', content: 'Hi' }] as const;
    for await (const event of streamChat({
      endpoint,
      model,
      messages,
      parameters: { maxTokens: 1 },
      signal,
    })) {
      if (event.kind === 'delta' || event.kind === 'finish') return;
    }
  });
}

/** A realtime session, closed as soon as it has begun. */
export function testSocket(address: ProviderAddress, model: string): Promise<Verdict> {
  return judged(async (signal) => {
    const transport = throughGateway(address, model);
    signal.addEventListener('abort', () => transport.close());
    const begun = sessionOf(transport);
    try {
      await transport.open();
      await begun;
    } finally {
      begun.catch(() => undefined); // where opening failed already, nobody else waits for it
      transport.close();
    }
  });
}

/** Settles when the server says that the session has begun, or why not. */
function sessionOf(transport: RealtimeTransport): Promise<void> {
  return new Promise((resolve, reject) => {
    transport.onEvent = (text) => {
      const event = parseServerEvent(text);
      if (event.type === 'session.created') resolve();
      if (event.type === 'error') reject(new Refusal(event.error.message));
    };
    transport.onClose = (close) => reject(new TransportFailure(close));
  });
}

class Refusal extends Error {}

async function judged(test: (signal: AbortSignal) => Promise<void>): Promise<Verdict> {
  const started = performance.now();
  const signal = AbortSignal.timeout(PATIENCE_SECONDS * 1000);
  const elapsed = (): number => performance.now() - started;
  try {
    await test(signal);
    return { works: true, ms: elapsed() };
  } catch (error) {
    return { works: false, ms: elapsed(), reason: signal.aborted ? { kind: 'timeout' } : reasonOf(error) };
  }
}

function reasonOf(error: unknown): Reason {
  if (error instanceof ChatFailure || error instanceof ApiFailure) {
    return { kind: 'told', status: error.status, message: error.message };
  }
  if (error instanceof Refusal) return { kind: 'told', status: 0, message: error.message };
  if (error instanceof TransportFailure) {
    const { code, reason } = error.close;
    return reason ? { kind: 'told', status: 0, message: reason } : { kind: 'closed', code };
  }
  throw error;
}
