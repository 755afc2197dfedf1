/** Any request as text to run elsewhere. No copy holds a secret: keys come from the environment of whoever runs it. */

import { asList, asObject, asString } from './narrow';

export interface CopyOptions {
  /** The environment variable a copied program reads its key from. Without it the copy sends no key. */
  readonly keyVariable?: string;
}

export interface CopiedRequest {
  readonly method: string;
  /** Absolute, or relative to the page. One of `ws:` or `wss:` is a realtime session's. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, or a text that is sent as it is; of a session, the event that it begins with. */
  readonly body?: unknown;
}

/** The ways to copy, in the order in which they are offered. */
export const COPIES = [
  { label: 'cURL', of: asCurl },
  { label: 'Python', of: asPython },
  { label: 'JavaScript', of: asJavaScript },
] as const;

/** The same request as a shell command; a session's is one for `websocat`, since few builds of cURL speak WebSocket. */
export function asCurl(request: CopiedRequest, options: CopyOptions = {}): string {
  const url = shellQuoted(absolute(request.url));
  const headers = Object.entries(sentHeaders(request)).map(([name, value]) =>
    shellQuoted(`${name}: ${value}`),
  );
  if (options.keyVariable) headers.push(`"authorization: Bearer $${options.keyVariable}"`);
  const body = textOf(request);
  if (isSocket(request)) {
    const said = body === undefined ? '' : `printf '%s\\n' ${shellQuoted(body)} | `;
    return [`${said}websocat -n`, ...headers.map((header) => `-H=${header}`), url].join(' \\\n  ');
  }
  // With a body the method is POST by itself, and without one it is GET.
  const usual = body === undefined ? 'GET' : 'POST';
  const method = request.method === usual ? '' : ` -X ${shellQuoted(request.method)}`;
  // cURL takes brackets of any kind for patterns.
  const literal = /[[\]{}]/.test(url) ? ' -g' : '';
  return [
    `curl -N${literal}${method} ${url}`,
    ...headers.map((header) => `-H ${header}`),
    ...(body === undefined ? [] : [`--data-raw ${shellQuoted(body)}`]),
  ].join(' \\\n  ');
}

/** The same request in Python: with OpenAI's client where it is a chat, which takes any compatible base URL. */
export function asPython(request: CopiedRequest, options: CopyOptions = {}): string {
  if (isSocket(request)) return socketInPython(request, options);
  const chat = chatOf(request);
  if (!chat) return plainPython(request, options);
  const key = options.keyVariable ? pythonKey(options.keyVariable) : '"not-needed"';
  const extra = withoutContentType(request);
  const { model, messages, ...parameters } = chat.body;
  const [named, others] = parted(parameters);
  return [
    ...(options.keyVariable ? ['import os', ''] : []),
    'from openai import OpenAI',
    '',
    `client = OpenAI(base_url=${pythonLiteral(chat.base)}, api_key=${key})`,
    `${chat.streams ? 'stream' : 'answer'} = client.chat.completions.create(`,
    ...Object.entries({ model, messages, ...named }).map(
      ([name, value]) => `    ${name}=${pythonLiteral(value)},`,
    ),
    ...(Object.keys(others).length ? [`    extra_body=${pythonLiteral(others)},`] : []),
    ...(Object.keys(extra).length ? [`    extra_headers=${pythonLiteral(extra)},`] : []),
    ')',
    ...(chat.streams
      ? [
          'for chunk in stream:',
          '    if chunk.choices:',
          '        print(chunk.choices[0].delta.content or "", end="", flush=True)',
        ]
      : ['print(answer.choices[0].message.content)']),
    '',
  ].join('\n');
}

/** The same request in JavaScript, for Node.js: with OpenAI's client where it is a chat, else with `fetch`. */
export function asJavaScript(request: CopiedRequest, options: CopyOptions = {}): string {
  const bearer = options.keyVariable && `\`Bearer \${process.env.${options.keyVariable}}\``;
  if (isSocket(request)) return socketInJavaScript(request, bearer);
  const chat = chatOf(request);
  if (!chat) return plainJavaScript(request, bearer);
  const key = options.keyVariable ? `process.env.${options.keyVariable}` : "'not-needed'";
  const extra = withoutContentType(request);
  const call = [json(chat.body)];
  if (Object.keys(extra).length) call.push(json({ headers: extra }));
  return [
    "import OpenAI from 'openai';",
    '',
    `const client = new OpenAI({ baseURL: ${json(chat.base)}, apiKey: ${key} });`,
    `const ${chat.streams ? 'stream' : 'answer'} = await client.chat.completions.create(${call.join(', ')});`,
    ...(chat.streams
      ? [
          'for await (const chunk of stream) {',
          "  process.stdout.write(chunk.choices[0]?.delta?.content ?? '');",
          '}',
        ]
      : ['console.log(answer.choices[0].message.content);']),
    '',
  ].join('\n');
}

function plainPython(request: CopiedRequest, { keyVariable }: CopyOptions): string {
  const body = textOf(request);
  return [
    ...(keyVariable ? ['import os'] : []),
    'from urllib.request import Request, urlopen',
    '',
    'request = Request(',
    `    ${pythonLiteral(absolute(request.url))},`,
    `    method=${pythonLiteral(request.method)},`,
    `    headers=${pythonHeaders(request, keyVariable)},`,
    ...(body === undefined ? [] : [`    data=${pythonLiteral(body)}.encode(),`]),
    ')',
    'with urlopen(request) as response:',
    '    print(response.read().decode())',
    '',
  ].join('\n');
}

function plainJavaScript(request: CopiedRequest, bearer: string | undefined): string {
  const body = textOf(request);
  return [
    `const response = await fetch(${json(absolute(request.url))}, {`,
    `  method: ${json(request.method)},`,
    `  headers: ${scriptHeaders(request, bearer)},`,
    ...(body === undefined ? [] : [`  body: ${json(body)},`]),
    '});',
    'console.log(await response.text());',
    '',
  ].join('\n');
}

function socketInPython(request: CopiedRequest, { keyVariable }: CopyOptions): string {
  const body = textOf(request);
  return [
    ...(keyVariable ? ['import os', ''] : []),
    'from websockets.sync.client import connect',
    '',
    'with connect(',
    `    ${pythonLiteral(absolute(request.url))},`,
    `    additional_headers=${pythonHeaders(request, keyVariable)},`,
    ') as socket:',
    ...(body === undefined ? [] : [`    socket.send(${pythonLiteral(body)})`]),
    '    for message in socket:',
    '        print(message, flush=True)',
    '',
  ].join('\n');
}

function socketInJavaScript(request: CopiedRequest, bearer: string | undefined): string {
  const body = textOf(request);
  return [
    "import WebSocket from 'ws';",
    '',
    `const socket = new WebSocket(${json(absolute(request.url))}, {`,
    `  headers: ${scriptHeaders(request, bearer)},`,
    '});',
    ...(body === undefined ? [] : [`socket.on('open', () => socket.send(${json(body)}));`]),
    "socket.on('message', (message) => console.log(message.toString()));",
    '',
  ].join('\n');
}

interface Chat {
  /** The clients append `/chat/completions` themselves. */
  readonly base: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly streams: boolean;
}

function chatOf(request: CopiedRequest): Chat | undefined {
  const [, base] = /^(.*)\/chat\/completions\/?$/.exec(absolute(request.url)) ?? [];
  const body = asObject(request.body);
  if (base === undefined || request.method !== 'POST' || !body) return undefined;
  if (asString(body['model']) === undefined || !asList(body['messages'])) return undefined;
  return { base, body, streams: body['stream'] === true };
}

/** What OpenAI's Python client takes by name; it refuses other names, and has a place for them. */
const NAMED = new Set(
  (
    'audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata ' +
    'modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning_effort response_format ' +
    'safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools top_logprobs ' +
    'top_p user verbosity web_search_options'
  ).split(' '),
);

function parted(
  parameters: Readonly<Record<string, unknown>>,
): readonly [Record<string, unknown>, Record<string, unknown>] {
  const named: Record<string, unknown> = {};
  const others: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(parameters)) (NAMED.has(name) ? named : others)[name] = value;
  return [named, others];
}

const SECRET_HEADER = /authorization|cookie|token|secret|key/i;
/** Holds a name for a cached answer, for all that it is called. */
const NO_SECRET = /^cf-aig-cache-key$/i;

function sentHeaders(request: CopiedRequest): Record<string, string> {
  const given = Object.entries(request.headers ?? {}).filter(
    ([name]) => !SECRET_HEADER.test(name) || NO_SECRET.test(name),
  );
  const isTyped = given.some(([name]) => /^content-type$/i.test(name));
  const needsType = request.body !== undefined && !isTyped && !isSocket(request);
  return Object.fromEntries([...(needsType ? [['content-type', 'application/json']] : []), ...given]);
}

function withoutContentType(request: CopiedRequest): Record<string, string> {
  const others = Object.entries(sentHeaders(request)).filter(([name]) => !/^content-type$/i.test(name));
  return Object.fromEntries(others);
}

function textOf({ body }: CopiedRequest): string | undefined {
  return body === undefined ? undefined : (asString(body) ?? JSON.stringify(body));
}

function isSocket({ url }: CopiedRequest): boolean {
  return /^wss?:/.test(url);
}

function absolute(url: string): string {
  return new URL(url, globalThis.location?.href).href;
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** An object whose last member is the key, which only the environment knows. */
function scriptHeaders(request: CopiedRequest, bearer: string | undefined): string {
  const headers = Object.entries(sentHeaders(request)).map(
    ([name, value]) => `${json(name)}: ${json(value)}`,
  );
  return `{ ${[...headers, ...(bearer ? [`authorization: ${bearer}`] : [])].join(', ')} }`;
}

function pythonHeaders(request: CopiedRequest, keyVariable: string | undefined): string {
  const headers = Object.entries(sentHeaders(request)).map(
    ([name, value]) => `${pythonLiteral(name)}: ${pythonLiteral(value)}`,
  );
  if (keyVariable) headers.push(`"authorization": f"Bearer {${pythonKey(keyVariable, "'")}}"`);
  return `{${headers.join(', ')}}`;
}

function pythonKey(variable: string, quote = '"'): string {
  return `os.environ[${quote}${variable}${quote}]`;
}

function pythonLiteral(value: unknown): string {
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (value === null || value === undefined) return 'None';
  const list = asList(value);
  if (list) return `[${list.map(pythonLiteral).join(', ')}]`;
  const object = asObject(value);
  // JSON's strings and numbers are Python's as well.
  if (!object) return JSON.stringify(value);
  const entries = Object.entries(object).map(
    ([name, entry]) => `${JSON.stringify(name)}: ${pythonLiteral(entry)}`,
  );
  return `{${entries.join(', ')}}`;
}
