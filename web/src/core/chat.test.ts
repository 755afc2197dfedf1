import { afterEach, describe, expect, it, vi } from 'vitest';

import { ChatFailure, listModels, streamChat, type ChatEvent, type ChatRequest } from './chat';

const ENDPOINT = 'http://127.0.0.1:8787/v1/local/default/local/chat/completions';

function requestWith(change: Partial<ChatRequest> = {}): ChatRequest {
  return {
    endpoint: ENDPOINT,
    model: 'local',
    messages: [{ role: 'user', content: "It's me" }],
    signal: new AbortController().signal,
    ...change,
  };
}

function serve(response: Response | Error): ReturnType<typeof vi.fn<typeof fetch>> {
  const served = vi.fn<typeof fetch>(async () => {
    if (response instanceof Error) throw response;
    return response;
  });
  vi.stubGlobal('fetch', served);
  return served;
}

function stream(...events: (object | string)[]): Response {
  const text = events.map(
    (event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`,
  );
  return new Response(text.join(''), { headers: { 'content-type': 'text/event-stream; charset=utf-8' } });
}

function delta(content: string): object {
  return { choices: [{ delta: { content }, finish_reason: null }] };
}

const STOP = { choices: [{ delta: {}, finish_reason: 'stop' }] };

async function run(request: ChatRequest = requestWith()): Promise<ChatEvent[]> {
  const events: ChatEvent[] = [];
  for await (const event of streamChat(request)) if (event.kind !== 'head') events.push(event);
  return events;
}

async function failureOf(promise: Promise<unknown>): Promise<ChatFailure> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ChatFailure)) throw new Error(`not a ChatFailure: ${String(error)}`);
  return error;
}

afterEach(() => vi.unstubAllGlobals());

describe('streamChat', () => {
  it('yields text, usage and the reason to stop, in the order they come', async () => {
    const usage = { choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } };
    serve(stream(delta('Hel'), delta('lo'), STOP, usage, '[DONE]'));
    expect(await run()).toEqual([
      { kind: 'delta', text: 'Hel' },
      { kind: 'delta', text: 'lo' },
      { kind: 'finish', reason: 'stop' },
      { kind: 'usage', input: 5, output: 2 },
    ]);
  });

  it('asks for a stream with usage and sends only the parameters that were given', async () => {
    const served = serve(stream(STOP));
    await run(requestWith({ parameters: { temperature: 0, maxTokens: 9, stop: [] } }));
    const [url, init] = served.mock.calls[0] ?? [];
    expect(url).toBe(ENDPOINT);
    expect(JSON.parse(String(init?.body))).toEqual({
      model: 'local',
      messages: [{ role: 'user', content: "It's me" }],
      temperature: 0,
      max_tokens: 9,
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  it('names the token limit as OpenAI wants it', async () => {
    const served = serve(stream(STOP));
    await run(requestWith({ endpoint: '/v1/a/g/openai/chat/completions', parameters: { maxTokens: 9 } }));
    expect(JSON.parse(String(served.mock.calls[0]?.[1]?.body))).toMatchObject({ max_completion_tokens: 9 });
  });

  it('begins with the head, which tells the response headers and how long they took', async () => {
    serve(stream(STOP));
    const first = await streamChat(requestWith({ headers: { 'cf-aig-skip-cache': 'true' } })).next();
    expect(first.value).toMatchObject({
      kind: 'head',
      status: 200,
      requestHeaders: { 'cf-aig-skip-cache': 'true', 'content-type': 'application/json' },
    });
  });

  it('reads content in parts and an answer that is not streamed', async () => {
    const message = {
      content: [
        { type: 'text', text: 'Hel' },
        { type: 'text', text: 'lo' },
      ],
    };
    serve(Response.json({ choices: [{ message, finish_reason: 'stop' }] }));
    expect(await run()).toEqual([
      { kind: 'delta', text: 'Hello' },
      { kind: 'finish', reason: 'stop' },
    ]);
  });

  it('accepts an end without [DONE] after a finish reason, and [DONE] without a finish reason', async () => {
    serve(stream(delta('a'), STOP));
    expect(await run()).toHaveLength(2);
    serve(stream(delta('a'), '[DONE]'));
    expect(await run()).toHaveLength(1);
  });

  it('calls a stream cut that just ends', async () => {
    serve(stream(delta('a')));
    expect(await failureOf(run())).toMatchObject({ kind: 'cut', status: 200 });
  });

  it('calls a stream cut whose connection breaks', async () => {
    const body = new ReadableStream({ pull: (controller) => controller.error(new TypeError('reset')) });
    serve(new Response(body, { headers: { 'content-type': 'text/event-stream' } }));
    expect((await failureOf(run())).kind).toBe('cut');
  });

  it('reports an error within the stream with its words', async () => {
    serve(stream(delta('a'), { error: { message: 'overloaded', code: 'server_busy' } }));
    expect(await failureOf(run())).toMatchObject({
      kind: 'stream-error',
      code: 'server_busy',
      message: 'overloaded',
    });
  });

  it('tells a stop by the user from a broken network', async () => {
    const controller = new AbortController();
    controller.abort();
    serve(new DOMException('aborted', 'AbortError'));
    expect((await failureOf(run(requestWith({ signal: controller.signal })))).kind).toBe('aborted');
    serve(new TypeError('failed to fetch'));
    expect(await failureOf(run())).toMatchObject({ kind: 'network', status: 0 });
  });

  it('calls it aborted when the user stops in the middle of an answer', async () => {
    const controller = new AbortController();
    const body = new ReadableStream({
      start: (stream) => stream.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(delta('a'))}\n\n`)),
      pull: (stream) => {
        controller.abort();
        stream.error(new DOMException('aborted', 'AbortError'));
      },
    });
    serve(new Response(body, { headers: { 'content-type': 'text/event-stream' } }));
    expect((await failureOf(run(requestWith({ signal: controller.signal })))).kind).toBe('aborted');
  });

  const refusals = {
    OpenAI: [{ error: { message: 'no key', type: 'auth', code: 'invalid_api_key' } }, 'invalid_api_key'],
    Anthropic: [
      { type: 'error', error: { type: 'authentication_error', message: 'no key' } },
      'authentication_error',
    ],
    Google: [[{ error: { code: 401, message: 'no key', status: 'UNAUTHENTICATED' } }], 'UNAUTHENTICATED'],
    Cloudflare: [{ success: false, error: [{ code: 2009, message: 'no key' }] }, '2009'],
    'a bare text': [{ error: 'no key' }, ''],
  } as const;

  for (const [name, [body, code]] of Object.entries(refusals)) {
    it(`reads the error object of ${name}`, async () => {
      serve(Response.json(body, { status: 401 }));
      expect(await failureOf(run())).toMatchObject({ kind: 'refused', status: 401, code, message: 'no key' });
    });
  }

  it('reads Retry-After in seconds and as a date', async () => {
    serve(new Response('', { status: 429, headers: { 'retry-after': '7' } }));
    expect(await failureOf(run())).toMatchObject({ status: 429, retryAfterSeconds: 7 });
    const inAnHour = new Date(Date.now() + 3_600_000).toUTCString();
    serve(new Response('', { status: 429, headers: { 'retry-after': inAnHour } }));
    const { retryAfterSeconds } = await failureOf(run());
    expect(retryAfterSeconds).toBeGreaterThan(3590);
    expect(retryAfterSeconds).toBeLessThanOrEqual(3600);
  });
});

describe('listModels', () => {
  const lists = {
    'the OpenAI list': { object: 'list', data: [{ id: 'a' }, { id: 'b' }, { id: 'a' }] },
    'a plain array of names': ['a', 'b'],
    'a plain array of objects': [{ id: 'a' }, { name: 'b' }],
    'a list under models': { models: [{ name: 'a' }, { name: 'b' }, { size: 3 }] },
  };

  for (const [name, body] of Object.entries(lists)) {
    it(`reads ${name}`, async () => {
      serve(Response.json(body));
      expect(await listModels('/models', new AbortController().signal)).toEqual(['a', 'b']);
    });
  }

  it('is not for the log', async () => {
    const fetched = serve(Response.json(['a']));
    await listModels('/models', new AbortController().signal);
    expect(fetched.mock.calls[0]?.[1]?.headers).toMatchObject({ 'cf-aig-collect-log': 'false' });
  });

  it('refuses what is no list', async () => {
    serve(new Response('<html>'));
    expect((await failureOf(listModels('/models', new AbortController().signal))).kind).toBe('refused');
  });
});
