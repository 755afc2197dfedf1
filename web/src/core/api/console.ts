/** The console's own API below `/api`. Secrets go in once and come back only as "set" and their last characters. */

import type { components } from '../../gen/api';
import { CONSOLE_HEADER } from '../../gen/constants';
import { asList, asObject, asString, parseJson } from '../narrow';
import { readNdjson } from '../ndjson';
import { errorOf } from '../refusal';
import { readSse } from '../sse';
import type { StoredConversation, StoredMessage } from '../stored-conversation';

type Schemas = components['schemas'];
export type ConfigView = Schemas['ConfigView'];
export type ProviderView = Schemas['ProviderView'];
export type LocalView = Schemas['LocalView'];
export type SessionView = Schemas['SessionView'];
export type SessionChange = Schemas['SessionChange'];
export type KeyState = Schemas['KeyState'];
export type DirectCall = Schemas['DirectCall'];
export type ProbeRequest = Schemas['ProbeRequest'];
export type ProbePlan = Schemas['ProbePlan'];
export type ProbeCell = Schemas['ProbeCell'];
export type ProbeReport = Schemas['ProbeReport'];
export type OpenSession = Schemas['OpenSession'];
export type SessionSummary = Schemas['SessionSummary'];
export type RecordPage = Schemas['RecordPage'];
export type StoredSession = Schemas['RecordedSession'];
export type Report = Schemas['Report'];
export type Turn = Schemas['Turn'];
export type Tokens = Schemas['Tokens'];
export type Latency = Schemas['Latency'];
export type ConversationPage = Schemas['ConversationPage'];
export type ConversationSummary = Schemas['ConversationSummary'];
export type SearchHit = Schemas['SearchHit'];
export type ImportEvent = Pick<Schemas['ImportEvent'], 'event'> & Partial<Schemas['ImportEvent']>;
/** What is absent stays as it is. */
export type ConversationChange = Partial<Omit<Schemas['ConversationChange'], 'messages'>> & {
  readonly messages?: readonly StoredMessage[];
};
export type AccountView = Schemas['AccountView'];
export type UserView = Schemas['UserView'];
export type LinkView = Schemas['LinkView'];
export type ProbeLine = Schemas['ProbeLines']['line'];

/** The gateway refused, or could not be reached (`status` 0, code `unreachable`). */
export class ApiFailure extends Error {
  override readonly name = 'ApiFailure';
  readonly code: string;

  /** An answer that says nothing about itself is known by its status: `http_502`. */
  constructor(
    readonly status: number,
    code = '',
    message = `The gateway answered ${status}.`,
    /** By which the gateway's own log knows the request; empty where nothing said so. */
    readonly requestId = '',
  ) {
    super(message);
    this.code = code || `http_${status}`;
  }

  static unreachable(): ApiFailure {
    return new ApiFailure(0, 'unreachable', 'The gateway does not answer.');
  }

  /** Whether nothing of the gateway has answered: it is away, or a proxy before it says so. */
  get isAbsence(): boolean {
    return this.status === 0 || (this.status >= 500 && this.code === `http_${this.status}`);
  }
}

/** Every method throws `ApiFailure`; a request whose signal was aborted throws that signal's reason. */
export class ConsoleApi {
  constructor(private readonly base = '') {}

  /** Who is signed in here, and whether somebody must. */
  account(): Promise<AccountView> {
    return this.call<AccountView>('GET', '/api/account');
  }

  signIn(name: string, password: string): Promise<AccountView> {
    return this.call<AccountView>('POST', '/api/account/sign-in', { name, password });
  }

  signOut(): Promise<AccountView> {
    return this.call<AccountView>('POST', '/api/account/sign-out');
  }

  /** Every other browser of who is signed in is signed out. */
  changePassword(current: string, password: string): Promise<AccountView> {
    return this.call<AccountView>('PUT', '/api/account/password', { current, password });
  }

  /** What a one-time link is for; looking does not use it. */
  lookAtLink(token: string): Promise<LinkView> {
    return this.call<LinkView>('POST', '/api/account/link', { token });
  }

  /** Use a one-time link: set a password, and for the first account its name. */
  redeem(wanted: { token: string; password: string; name: string }): Promise<AccountView> {
    return this.call<AccountView>('POST', '/api/account/redeem', wanted);
  }

  config(signal?: AbortSignal): Promise<ConfigView> {
    return this.call<ConfigView>('GET', '/api/config', undefined, signal);
  }

  session(): Promise<SessionView> {
    return this.call<SessionView>('GET', '/api/session');
  }

  changeSession(change: SessionChange): Promise<SessionView> {
    return this.call<SessionView>('PUT', '/api/session', change);
  }

  endSession(): Promise<SessionView> {
    return this.call<SessionView>('DELETE', '/api/session');
  }

  /** Mint a short-lived secret with which this browser can dial the provider itself. */
  direct(provider: string, model: string, signal: AbortSignal): Promise<DirectCall> {
    return this.call<DirectCall>('POST', '/api/direct', { provider, model }, signal);
  }

  /** Run the auth matrix, line by line. Aborting the signal or leaving the loop ends the run on the server too. */
  async *probe(request: ProbeRequest, signal: AbortSignal): AsyncGenerator<ProbeLine> {
    const { body } = await this.#ask('POST', '/api/probe', request, signal);
    if (!body) return;
    for await (const line of readNdjson(body)) if (isProbeLine(line)) yield line;
  }

  /** The open realtime sessions: all of them at once, and again whenever something changed, until the signal aborts. */
  async *openSessions(signal: AbortSignal): AsyncGenerator<readonly OpenSession[]> {
    const { body } = await this.#ask('GET', '/api/realtime/sessions', undefined, signal, 'text/event-stream');
    if (!body) return;
    for await (const { event, data } of readSse(body)) {
      const told = asObject(parseJson(data));
      if (event === 'sessions') {
        // A shape is trusted here: see `#call`.
        yield (asList(told?.['sessions']) ?? []) as readonly OpenSession[];
      } else if (event === 'refused') {
        throw new ApiFailure(401, asString(told?.['code']), asString(told?.['message']));
      }
    }
  }

  /** End an open session; its client is told why. */
  async endOpenSession(id: string): Promise<void> {
    await this.#ask('DELETE', `/api/realtime/sessions/${encodeURIComponent(id)}`);
  }

  /** The sessions that have ended, newest first: the first ones, or those that began before the session of an id. */
  endedSessions(limit: number, before?: string): Promise<RecordPage> {
    const query = new URLSearchParams({ open: 'false', limit: String(limit), ...(before && { before }) });
    return this.call<RecordPage>('GET', `/api/realtime/records?${query}`);
  }

  /** All that is kept of a session. */
  record(id: string): Promise<StoredSession> {
    return this.call<StoredSession>('GET', `/api/realtime/records/${encodeURIComponent(id)}`);
  }

  /** The conversations that were changed last, pinned ones first, or those after them. */
  conversations(limit: number, before?: string): Promise<ConversationPage> {
    const query = new URLSearchParams({ limit: String(limit), ...(before && { before }) });
    return this.call<ConversationPage>('GET', `/api/conversations?${query}`);
  }

  /** The conversations with all words of a query in their title or messages. */
  async searchConversations(words: string, signal: AbortSignal): Promise<readonly SearchHit[]> {
    const path = `/api/conversations/search?${new URLSearchParams({ q: words })}`;
    return (await this.call<Schemas['SearchHits']>('GET', path, undefined, signal)).hits;
  }

  /** A conversation with all its branches. */
  conversation(id: string): Promise<StoredConversation> {
    return this.call<StoredConversation>('GET', `/api/conversations/${encodeURIComponent(id)}`);
  }

  /** Change a conversation, or begin it. Sent again, it changes nothing more. */
  keepConversation(id: string, change: ConversationChange): Promise<ConversationSummary> {
    return this.call<ConversationSummary>('PUT', `/api/conversations/${encodeURIComponent(id)}`, change);
  }

  /** Delete some conversations, or all. */
  async deleteConversations(ids: readonly string[] | 'all'): Promise<void> {
    await this.#ask('POST', '/api/conversations/delete', ids === 'all' ? { all: true } : { ids });
  }

  /** Import the conversations of a file that another program, or this one, exported. */
  async *importConversations(file: Blob): AsyncGenerator<ImportEvent> {
    const { body } = await this.#ask('POST', '/api/conversations/import', file);
    if (!body) return;
    for await (const line of readNdjson(body)) if (isImportEvent(line)) yield line;
  }

  /** Ask for what the pages that are loaded later need; a method of its own names each request of the others. */
  async call<Answer>(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Answer> {
    const response = await this.#ask(method, path, body, signal);
    // A shape is trusted here, in `isProbeLine`, `isImportEvent` and `openSessions` only: it is generated from the server
    // that ships with this page.
    return (response.status === 204 ? undefined : await response.json()) as Answer;
  }

  /** What is no JSON, whole. */
  async file(path: string, signal?: AbortSignal): Promise<Blob> {
    return (await this.#ask('GET', path, undefined, signal, '*/*')).blob();
  }

  async #ask(
    method: string,
    path: string,
    body?: object,
    signal?: AbortSignal,
    accept = 'application/json',
  ): Promise<Response> {
    const response = await this.#fetch(method, path, accept, body, signal);
    if (!response.ok) throw await failureOf(response);
    return response;
  }

  async #fetch(
    method: string,
    path: string,
    accept: string,
    body?: object,
    signal?: AbortSignal,
  ): Promise<Response> {
    const headers = new Headers({ accept });
    // A page of another site cannot send this header, so the server knows that its own page is asking.
    if (method !== 'GET') headers.set(CONSOLE_HEADER, '1');
    const isFile = body instanceof Blob;
    if (body) headers.set('content-type', isFile ? 'application/octet-stream' : 'application/json');
    try {
      return await fetch(this.base + path, {
        method,
        headers,
        cache: 'no-store',
        ...(body ? { body: isFile ? body : JSON.stringify(body) } : {}),
        ...(signal ? { signal } : {}),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw ApiFailure.unreachable();
    }
  }
}

function isProbeLine(value: unknown): value is ProbeLine {
  const type = asString(asObject(value)?.['type']);
  return type === 'plan' || type === 'cell' || type === 'report' || type === 'failed';
}

function isImportEvent(value: unknown): value is ImportEvent {
  return asString(asObject(value)?.['event']) !== undefined;
}

async function failureOf(response: Response): Promise<ApiFailure> {
  const answer = asObject(parseJson(await response.text().catch(() => '')));
  const { code, message } = errorOf(answer);
  const words = message ?? validationMessage(answer?.['detail']);
  return new ApiFailure(response.status, code, words, response.headers.get('x-request-id') ?? '');
}

/** FastAPI names each field it could not read: `{detail: [{loc: ["body", "model"], msg: "..."}]}`. */
function validationMessage(detail: unknown): string | undefined {
  if (!Array.isArray(detail)) return undefined;
  const problems = detail.flatMap((entry: unknown) => {
    const problem = asObject(entry);
    const message = asString(problem?.['msg']);
    // Of a place within a list, the name of the list.
    const place = asList(problem?.['loc'])
      ?.filter((step) => typeof step === 'string')
      .at(-1);
    return message ? [place === undefined || place === 'body' ? message : `${place}: ${message}`] : [];
  });
  return problems.length ? problems.join('; ') : undefined;
}
