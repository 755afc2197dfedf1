/** The console's own API below `/api`. Secrets go in once and come back only as "set" and their last characters. */

import type { components } from '../../gen/api';
import { asObject, asString, parseJson } from '../narrow';
import { readNdjson } from '../ndjson';
import { errorOf } from '../refusal';

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

  config(signal?: AbortSignal): Promise<ConfigView> {
    return this.#call<ConfigView>('GET', '/api/config', undefined, signal);
  }

  session(): Promise<SessionView> {
    return this.#call<SessionView>('GET', '/api/session');
  }

  changeSession(change: SessionChange): Promise<SessionView> {
    return this.#call<SessionView>('PUT', '/api/session', change);
  }

  endSession(): Promise<SessionView> {
    return this.#call<SessionView>('DELETE', '/api/session');
  }

  /** Mint a short-lived secret with which this browser can dial the provider itself. */
  direct(provider: string, model: string, signal: AbortSignal): Promise<DirectCall> {
    return this.#call<DirectCall>('POST', '/api/direct', { provider, model }, signal);
  }

  /** Run the auth matrix, line by line. Aborting the signal or leaving the loop ends the run on the server too. */
  async *probe(request: ProbeRequest, signal: AbortSignal): AsyncGenerator<ProbeLine> {
    const { body } = await this.#ask('POST', '/api/probe', request, signal);
    if (!body) return;
    for await (const line of readNdjson(body)) if (isProbeLine(line)) yield line;
  }

  async #call<Answer>(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Answer> {
    const response = await this.#ask(method, path, body, signal);
    // A shape is trusted here and in `isProbeLine` only: it is generated from the server that ships with this page.
    return (await response.json()) as Answer;
  }

  async #ask(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Response> {
    const response = await this.#fetch(method, path, body, signal);
    if (!response.ok) throw await failureOf(response);
    return response;
  }

  async #fetch(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Response> {
    const headers = new Headers({ accept: 'application/json' });
    // A page of another site cannot send this header, so the server knows that its own page is asking.
    if (method !== 'GET') headers.set('X-Trunkline-Console', '1');
    if (body) headers.set('content-type', 'application/json');
    try {
      return await fetch(this.base + path, {
        method,
        headers,
        cache: 'no-store',
        ...(body ? { body: JSON.stringify(body) } : {}),
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

async function failureOf(response: Response): Promise<ApiFailure> {
  const answer = asObject(parseJson(await response.text().catch(() => '')));
  const { code, message } = errorOf(answer);
  return new ApiFailure(response.status, code, message ?? validationMessage(answer?.['detail']));
}

/** FastAPI names each field it could not read: `{detail: [{loc: ["body", "model"], msg: "..."}]}`. */
function validationMessage(detail: unknown): string | undefined {
  if (!Array.isArray(detail)) return undefined;
  const problems = detail.flatMap((entry: unknown) => {
    const problem = asObject(entry);
    const message = asString(problem?.['msg']);
    const place: unknown = Array.isArray(problem?.['loc']) ? problem['loc'].at(-1) : undefined;
    return message ? [typeof place === 'string' ? `${place}: ${message}` : message] : [];
  });
  return problems.length ? problems.join('; ') : undefined;
}
