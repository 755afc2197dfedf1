/** Chat completions over `fetch`: one request in, a stream of what happened out. */

import { literally } from './environment-text';
import { asList, asNumber, asObject, asString, parseJson, type JsonObject } from './narrow';
import { errorOf } from './refusal';
import type { CopiedRequest } from './request-copy';
import { readSse } from './sse';

export type ContentPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image_url'; readonly image_url: { readonly url: string } };

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string | readonly ContentPart[];
}

export interface ChatParameters {
  readonly temperature?: number;
  readonly maxTokens?: number;
  readonly topP?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  /** As it is sent in `response_format`. */
  readonly responseFormat?: JsonObject;
}

export interface ChatRequest {
  /** Where to POST: absolute, or relative to the page. */
  readonly endpoint: string;
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly parameters?: ChatParameters;
  /** Further request headers, such as `cf-aig-skip-cache`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export type ChatEvent =
  | {
      readonly kind: 'head';
      readonly status: number;
      readonly requestHeaders: Readonly<Record<string, string>>;
      readonly responseHeaders: Headers;
      readonly msToHeaders: number;
    }
  | { readonly kind: 'delta'; readonly text: string }
  /** Tokens, as the provider counted them. */
  | { readonly kind: 'usage'; readonly input: number; readonly output: number }
  | { readonly kind: 'finish'; readonly reason: string };

/**
 * - `refused`: an HTTP status other than 2xx
 * - `network`: no answer at all
 * - `cut`: the answer broke off before it was complete
 * - `stream-error`: the provider reported an error within the stream
 * - `aborted`: the request's own signal
 */
export type ChatFailureKind = 'refused' | 'network' | 'cut' | 'stream-error' | 'aborted';

export class ChatFailure extends Error {
  override readonly name = 'ChatFailure';
  readonly kind: ChatFailureKind;
  /** The HTTP status; 0 when there was none. */
  readonly status: number;
  /** The machine-readable code of the error, or an empty string. */
  readonly code: string;
  readonly retryAfterSeconds?: number;

  constructor(
    kind: ChatFailureKind,
    message: string,
    details: { status?: number; code?: string; retryAfterSeconds?: number | undefined } = {},
  ) {
    super(message);
    this.kind = kind;
    this.status = details.status ?? 0;
    this.code = details.code ?? '';
    if (details.retryAfterSeconds !== undefined) this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

/** Ask for a completion. Yields `head` first; ends only after a complete answer, else throws `ChatFailure`. */
export async function* streamChat(request: ChatRequest): AsyncGenerator<ChatEvent> {
  const started = performance.now();
  const requestHeaders = { ...request.headers, 'content-type': 'application/json' };
  const response = await send(request.endpoint, request.signal, {
    method: 'POST',
    headers: requestHeaders,
    body: JSON.stringify(bodyOf(request)),
  });
  const msToHeaders = performance.now() - started;
  yield {
    kind: 'head',
    status: response.status,
    requestHeaders,
    responseHeaders: response.headers,
    msToHeaders,
  };
  if (!response.ok) throw await refusal(response);
  try {
    yield* isEventStream(response) ? readChunks(response) : readWhole(response);
  } catch (error) {
    if (error instanceof ChatFailure) throw error;
    if (request.signal.aborted) throw new ChatFailure('aborted', 'The request was stopped.');
    throw new ChatFailure('cut', 'The connection broke before the answer was complete.', {
      status: response.status,
    });
  }
}

/** Return the ids of the models at `url`: OpenAI's list, Google's, or a plain array. Throws `ChatFailure`. */
export async function listModels(url: string, signal: AbortSignal): Promise<string[]> {
  // Nobody asked for it: a log that had it would show the console, and averages would be of lists.
  const headers = { accept: 'application/json', 'cf-aig-collect-log': 'false' };
  const response = await send(url, signal, { headers });
  if (!response.ok) throw await refusal(response);
  const answer = parseJson(await response.text().catch(() => ''));
  const models = asList(answer) ?? asList(asObject(answer)?.['data']) ?? asList(asObject(answer)?.['models']);
  if (!models) {
    throw new ChatFailure('refused', 'The answer holds no list of models.', { status: response.status });
  }
  return [...new Set(models.flatMap(modelId))];
}

function modelId(entry: unknown): string[] {
  const model = asObject(entry);
  const id = asString(entry) ?? asString(model?.['id']) ?? asString(model?.['name']);
  return id ? [id] : [];
}

async function send(url: string, signal: AbortSignal, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, signal });
  } catch {
    if (signal.aborted) throw new ChatFailure('aborted', 'The request was stopped.');
    throw new ChatFailure('network', 'The gateway does not answer.');
  }
}

function bodyOf(request: ChatRequest): JsonObject {
  const { temperature, maxTokens, topP, seed, stop, responseFormat } = request.parameters ?? {};
  return {
    model: request.model,
    messages: request.messages.map(({ role, content }) => ({ role, content })),
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxTokens === undefined ? {} : { [limitName(request.endpoint)]: maxTokens }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...(seed === undefined ? {} : { seed }),
    ...(stop?.length ? { stop } : {}),
    ...(responseFormat ? { response_format: responseFormat } : {}),
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** OpenAI's newer models refuse the old name, and most other providers do not know the new one. */
function limitName(endpoint: string): string {
  return /\/(azure-)?openai\//.test(endpoint) ? 'max_completion_tokens' : 'max_tokens';
}

function isEventStream(response: Response): boolean {
  return /^text\/event-stream\b/i.test(response.headers.get('content-type') ?? '');
}

async function* readChunks(response: Response): AsyncGenerator<ChatEvent> {
  let complete = false;
  if (response.body) {
    for await (const { data } of readSse(response.body)) {
      // Read on to the end of the body, with which the gateway has written its log.
      if (data.trim() === '[DONE]') complete = true;
      const chunk = asObject(parseJson(data));
      if (!chunk) continue; // a cut or foreign line; a missing end is noticed below
      for (const event of readCompletion(chunk, 'delta', response.status)) {
        complete ||= event.kind === 'finish';
        yield event;
      }
    }
  }
  if (!complete) {
    throw new ChatFailure('cut', 'The answer broke off before it was complete.', { status: response.status });
  }
}

/** A provider that does not stream answers with one JSON object. */
async function* readWhole(response: Response): AsyncGenerator<ChatEvent> {
  const answer = asObject(parseJson(await response.text()));
  if (!answer) {
    throw new ChatFailure('cut', 'The answer is no chat completion.', { status: response.status });
  }
  yield* readCompletion(answer, 'message', response.status);
}

function* readCompletion(
  completion: JsonObject,
  part: 'delta' | 'message',
  status: number,
): Generator<ChatEvent> {
  if (completion['error'] !== undefined && completion['error'] !== null) {
    const { message, code } = errorOf(completion);
    throw new ChatFailure('stream-error', message ?? 'The provider broke off with an error.', {
      status,
      code,
    });
  }
  const choice = asObject(asList(completion['choices'])?.[0]);
  const text = textOf(asObject(choice?.[part])?.['content']);
  if (text) yield { kind: 'delta', text };
  const usage = asObject(completion['usage']);
  const input = asNumber(usage?.['prompt_tokens']);
  const output = asNumber(usage?.['completion_tokens']);
  if (input !== undefined && output !== undefined) yield { kind: 'usage', input, output };
  const reason = asString(choice?.['finish_reason']);
  if (reason) yield { kind: 'finish', reason };
}

/** Content is a string or, with some providers, a list of parts. */
function textOf(content: unknown): string {
  const parts = asList(content);
  if (!parts) return asString(content) ?? '';
  return parts.map((part) => asString(asObject(part)?.['text']) ?? '').join('');
}

async function refusal(response: Response): Promise<ChatFailure> {
  const text = await response.text().catch(() => '');
  const { message, code } = errorOf(parseJson(text));
  return new ChatFailure('refused', message ?? `The answer was HTTP ${response.status}.`, {
    status: response.status,
    code,
    retryAfterSeconds: retryAfter(response.headers.get('retry-after')),
  });
}

/** Seconds or an HTTP date (RFC 9110, section 10.2.3). */
function retryAfter(header: string | null): number | undefined {
  if (header === null || header.trim() === '') return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - Date.now()) / 1000));
}

/** The request as it is sent, for copies of it; its headers are the further ones. */
export function requestOf(request: ChatRequest): CopiedRequest {
  const { endpoint: url, headers: further = {} } = request;
  const headers = Object.fromEntries(
    Object.entries(further).map(([name, value]) => [name, literally(value)]),
  );
  return { method: 'POST', url, headers, body: bodyOf(request) };
}
