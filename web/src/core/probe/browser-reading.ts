/** What an answer to the page itself says of the secret that was shown. The server reads its own answers. */

import type { ProbeCell } from '../api/console';
import { asObject, parseJson } from '../narrow';
import { errorOf, type ErrorWords } from '../refusal';
import { parseServerEvent } from '../realtime/events';
import type { TransportClose } from '../realtime/transport';

export type Verdict = ProbeCell['verdict'];

/**
 * - `answered`: with what was asked for
 * - `session`: the voice session was created
 * - `request-read`: what is in the request was refused, which nobody looks at before the key
 * - `refused`: the secret was refused
 * - `nothing-said`: an answer that tells nothing of the secret
 * - `no-answer`
 */
export type Reason = 'answered' | 'session' | 'request-read' | 'refused' | 'nothing-said' | 'no-answer';

export interface Reading {
  readonly verdict: Verdict;
  readonly reason: Reason;
}

export interface HttpAnswer {
  readonly status: number;
  /** Whether the gateway itself refused, and not the provider behind it. */
  readonly fromGateway: boolean;
  /** The body, or of a stream the data of its first event. */
  readonly body: string;
}

export interface SocketAnswer {
  /** The first message; empty without one. */
  readonly frame: string;
  /** How the connection ended, where it did so by itself. */
  readonly close: TransportClose | null;
}

/** Said only by an API that has taken the key. */
const AFTER_THE_KEY: ReadonlySet<string> = new Set([
  'insufficient_quota',
  'invalid_model',
  'missing_model',
  'model_not_found',
]);
const OF_CREDENTIALS = /api[ _-]?key|authenti|authori[sz]|bearer|credential|forbidden|permission/i;
/** OpenAI's own, those of gateways, and the protocol's "policy violation". */
const CLOSED_FOR_THE_KEY: ReadonlySet<number> = new Set([3000, 4001, 4003, 1008]);
const CLOSED_WITHOUT_A_WORD = 1006;

const REFUSED: Reading = { verdict: 'refused', reason: 'refused' };
const UNCLEAR: Reading = { verdict: 'unclear', reason: 'nothing-said' };
export const NO_ANSWER: Reading = { verdict: 'unreachable', reason: 'no-answer' };

/** `sent`: whether the request had a body, in which something could be wrong. */
export function readHttp({ status, fromGateway, body }: HttpAnswer, sent: boolean): Reading {
  const error = errorOf(parseJson(body));
  if (status >= 200 && status < 300) return accepted('answered');
  if (status === 401 || status === 403) return REFUSED;
  if (fromGateway) return UNCLEAR;
  if (AFTER_THE_KEY.has(error.code)) return accepted('request-read');
  if (status !== 400 && status !== 422) return UNCLEAR;
  if (isAboutCredentials(error)) return REFUSED;
  return sent && asObject(parseJson(body)) ? accepted('request-read') : UNCLEAR;
}

export function readSocket({ frame, close }: SocketAnswer): Reading {
  const event = parseServerEvent(frame);
  if (event.type === 'session.created') return accepted('session');
  if (event.type === 'error' && AFTER_THE_KEY.has(event.error.code)) return accepted('request-read');
  if (close && CLOSED_FOR_THE_KEY.has(close.code)) return REFUSED;
  if (event.type === 'error' && isAboutCredentials(event.error)) return REFUSED;
  if (frame === '' && (close === null || close.code === CLOSED_WITHOUT_A_WORD)) return NO_ANSWER;
  return UNCLEAR;
}

function accepted(reason: Reason): Reading {
  return { verdict: 'accepted', reason };
}

function isAboutCredentials({ code, message }: ErrorWords): boolean {
  return OF_CREDENTIALS.test(code) || OF_CREDENTIALS.test(message ?? '');
}
