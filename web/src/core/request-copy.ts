/** Any request as text to run elsewhere. No copy holds a secret: keys come from the environment of whoever runs it. */

import { absoluteUrl, piecesOf, variablesIn } from './environment-text';
import { asList, asObject, asString } from './narrow';

/** In the URL, the headers' values and the sub-protocols `${NAME}` stands for an environment variable. */
export interface CopiedRequest {
  readonly method: string;
  /** Absolute, or relative to the page. One of `ws:` or `wss:` is a realtime session's. */
  readonly url: string;
  /** One that looks like a secret is copied only if it reads a variable. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What a realtime session offers, in this order. */
  readonly subprotocols?: readonly string[];
  /** JSON, or a text that is sent as it is; of a session, the event that it begins with. */
  readonly body?: unknown;
}

/** The ways to copy, in the order in which they are offered. */
export const COPIES = [
  { label: 'cURL', of: asCurl },
  { label: 'Python', of: asPython },
  { label: 'JavaScript', of: asJavaScript },
] as const;

/** The environment variables that every copy of a request reads, each once. */
export function variablesOf(request: CopiedRequest): string[] {
  const texts = [request.url, ...Object.values(sentHeaders(request)), ...sentSubprotocols(request)];
  return [...new Set(texts.flatMap(variablesIn))];
}

/** The same request as a shell command; a session's is one for `websocat`, since few builds of cURL speak WebSocket. */
export function asCurl(request: CopiedRequest): string {
  const address = absolute(request.url);
  const url = shellText(address);
  const headers = Object.entries(sentHeaders(request)).map(([name, value]) => shellText(`${name}: ${value}`));
  const body = textOf(request);
  if (isSocket(request)) {
    const said = body === undefined ? '' : `printf '%s\\n' ${shellQuoted(body)} | `;
    const offered = sentSubprotocols(request).join(', ');
    return [
      `${said}websocat -n`,
      ...headers.map((header) => `-H=${header}`),
      ...(offered === '' ? [] : [`--protocol=${shellText(offered)}`]),
      url,
    ].join(' \\\n  ');
  }
  // With a body the method is POST by itself, and without one it is GET.
  const usual = body === undefined ? 'GET' : 'POST';
  const method = request.method === usual ? '' : ` -X ${shellQuoted(request.method)}`;
  // cURL takes brackets of any kind for patterns.
  const literal = /[[\]{}]/.test(piecesOf(address).join('')) ? ' -g' : '';
  return [
    `curl -N${literal}${method} ${url}`,
    ...headers.map((header) => `-H ${header}`),
    ...(body === undefined ? [] : [`--data-raw ${shellQuoted(body)}`]),
  ].join(' \\\n  ');
}

/** The same request in Python: with OpenAI's client where it is a chat, which takes any compatible base URL. */
export function asPython(request: CopiedRequest): string {
  const os = variablesOf(request).length > 0 ? ['import os'] : [];
  const chat = chatOf(request);
  // A package stands apart from what comes with Python.
  const apart = os.length > 0 ? [...os, ''] : [];
  if (isSocket(request)) return program([...apart, ...socketInPython(request)]);
  return program(chat ? [...apart, ...chatInPython(chat)] : [...os, ...plainPython(request)]);
}

/** The same request in JavaScript, for Node.js: with OpenAI's client where it is a chat, else with `fetch`. */
export function asJavaScript(request: CopiedRequest): string {
  if (isSocket(request)) return program(socketInJavaScript(request));
  const chat = chatOf(request);
  return program(chat ? chatInJavaScript(chat) : plainJavaScript(request));
}

function program(lines: readonly string[]): string {
  return [...lines, ''].join('\n');
}

function chatInPython({ base, key, headers, body, streams }: Chat): string[] {
  const { model, messages, ...parameters } = body;
  const [named, others] = parted(parameters);
  return [
    'from openai import OpenAI',
    '',
    `client = OpenAI(base_url=${pythonText(base)}, api_key=${pythonText(key)})`,
    `${streams ? 'stream' : 'answer'} = client.chat.completions.create(`,
    ...Object.entries({ model, messages, ...named }).map(
      ([name, value]) => `    ${name}=${pythonLiteral(value)},`,
    ),
    ...(Object.keys(others).length ? [`    extra_body=${pythonLiteral(others)},`] : []),
    ...(Object.keys(headers).length ? [`    extra_headers=${pythonHeaders(headers)},`] : []),
    ')',
    ...(streams
      ? [
          'for chunk in stream:',
          '    if chunk.choices:',
          '        print(chunk.choices[0].delta.content or "", end="", flush=True)',
        ]
      : ['print(answer.choices[0].message.content)']),
  ];
}

function chatInJavaScript({ base, key, headers, body, streams }: Chat): string[] {
  const call = [json(body)];
  if (Object.keys(headers).length) call.push(`{ headers: ${scriptHeaders(headers)} }`);
  return [
    "import OpenAI from 'openai';",
    '',
    `const client = new OpenAI({ baseURL: ${scriptText(base)}, apiKey: ${scriptText(key)} });`,
    `const ${streams ? 'stream' : 'answer'} = await client.chat.completions.create(${call.join(', ')});`,
    ...(streams
      ? [
          'for await (const chunk of stream) {',
          "  process.stdout.write(chunk.choices[0]?.delta?.content ?? '');",
          '}',
        ]
      : ['console.log(answer.choices[0].message.content);']),
  ];
}

function plainPython(request: CopiedRequest): string[] {
  const body = textOf(request);
  return [
    'from urllib.error import HTTPError',
    'from urllib.request import Request, urlopen',
    '',
    'request = Request(',
    `    ${pythonText(absolute(request.url))},`,
    `    method=${pythonLiteral(request.method)},`,
    `    headers=${pythonHeaders(sentHeaders(request))},`,
    ...(body === undefined ? [] : [`    data=${pythonLiteral(body)}.encode(),`]),
    ')',
    'try:',
    '    response = urlopen(request)',
    'except HTTPError as refusal:',
    '    response = refusal',
    'print(response.read().decode())',
  ];
}

function plainJavaScript(request: CopiedRequest): string[] {
  const body = textOf(request);
  return [
    `const response = await fetch(${scriptText(absolute(request.url))}, {`,
    `  method: ${json(request.method)},`,
    `  headers: ${scriptHeaders(sentHeaders(request))},`,
    ...(body === undefined ? [] : [`  body: ${json(body)},`]),
    '});',
    'console.log(await response.text());',
  ];
}

function socketInPython(request: CopiedRequest): string[] {
  const body = textOf(request);
  const offered = sentSubprotocols(request).map(pythonText);
  return [
    'from websockets.sync.client import connect',
    '',
    'with connect(',
    `    ${pythonText(absolute(request.url))},`,
    `    additional_headers=${pythonHeaders(sentHeaders(request))},`,
    ...(offered.length ? [`    subprotocols=[${offered.join(', ')}],`] : []),
    ') as socket:',
    ...(body === undefined ? [] : [`    socket.send(${pythonLiteral(body)})`]),
    '    for message in socket:',
    '        print(message, flush=True)',
  ];
}

function socketInJavaScript(request: CopiedRequest): string[] {
  const body = textOf(request);
  const offered = sentSubprotocols(request).map(scriptText);
  return [
    "import WebSocket from 'ws';",
    '',
    `const socket = new WebSocket(${scriptText(absolute(request.url))}, [${offered.join(', ')}], {`,
    `  headers: ${scriptHeaders(sentHeaders(request))},`,
    '});',
    ...(body === undefined ? [] : [`socket.on('open', () => socket.send(${json(body)}));`]),
    "socket.on('message', (message) => console.log(message.toString()));",
  ];
}

interface Chat {
  /** The clients append `/chat/completions` themselves. */
  readonly base: string;
  /** What the clients send as a bearer; they insist on one. */
  readonly key: string;
  /** What is sent besides. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
  readonly streams: boolean;
}

/** A gateway takes it for what clients send who have no key, and not for a provider's. */
const NO_KEY = 'none';

function chatOf(request: CopiedRequest): Chat | undefined {
  const [, base] = /^(.*)\/chat\/completions\/?$/.exec(absolute(request.url)) ?? [];
  const body = asObject(request.body);
  if (base === undefined || request.method !== 'POST' || !body) return undefined;
  if (asString(body['model']) === undefined || !asList(body['messages'])) return undefined;
  const headers: Record<string, string> = {};
  let key = NO_KEY;
  for (const [name, value] of Object.entries(sentHeaders(request))) {
    const [, bearer] = /^Bearer (\$\{[A-Z][A-Z0-9_]*\})$/.exec(value) ?? [];
    if (bearer !== undefined && /^authorization$/i.test(name)) key = bearer;
    else if (!/^content-type$/i.test(name)) headers[name] = value;
  }
  return { base, key, headers, body, streams: body['stream'] === true };
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
/** A secret behind what it is: `openai-insecure-api-key.sk-1`. */
const SECRET_SUBPROTOCOL = /(authorization|token|secret|key)\./i;

function sentHeaders(request: CopiedRequest): Record<string, string> {
  const given = Object.entries(request.headers ?? {}).filter(
    ([name, value]) => !SECRET_HEADER.test(name) || NO_SECRET.test(name) || variablesIn(value).length > 0,
  );
  const isTyped = given.some(([name]) => /^content-type$/i.test(name));
  const needsType = request.body !== undefined && !isTyped && !isSocket(request);
  return Object.fromEntries([...(needsType ? [['content-type', 'application/json']] : []), ...given]);
}

function sentSubprotocols({ subprotocols = [] }: CopiedRequest): string[] {
  return subprotocols.filter((name) => !SECRET_SUBPROTOCOL.test(name) || variablesIn(name).length > 0);
}

function textOf({ body }: CopiedRequest): string | undefined {
  return body === undefined ? undefined : (asString(body) ?? JSON.stringify(body));
}

function isSocket({ url }: CopiedRequest): boolean {
  return /^wss?:/.test(url);
}

function absolute(url: string): string {
  return absoluteUrl(url, globalThis.location?.href);
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

function shellText(text: string): string {
  const [only = '', ...others] = piecesOf(text);
  if (!others.length) return shellQuoted(only);
  // Double quotes leave an exclamation mark to the history of an interactive shell, and a backslash before it stays.
  const quoted = (piece: string) => piece.replace(/[\\"$`]/g, '\\$&').replace(/!+/g, `"'$&'"`);
  return `"${joined(text, quoted, (name) => `\${${name}}`)}"`;
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function scriptText(text: string): string {
  const [first = '', name] = piecesOf(text);
  if (name === undefined) return json(first);
  if (text === `\${${name}}`) return `process.env.${name}`;
  return `\`${joined(
    text,
    (piece) => piece.replace(/[\\`$]/g, '\\$&'),
    (variable) => `\${process.env.${variable}}`,
  )}\``;
}

function pythonText(text: string): string {
  const [first = '', name] = piecesOf(text);
  if (name === undefined) return pythonLiteral(first);
  if (text === `\${${name}}`) return `os.environ["${name}"]`;
  return `f"${joined(
    text,
    (piece) => JSON.stringify(piece).slice(1, -1).replace(/[{}]/g, '$&$&'),
    (variable) => `{os.environ['${variable}']}`,
  )}"`;
}

/** A text written anew: what stands literally in one way, and its variables in another. */
function joined(
  text: string,
  literal: (piece: string) => string,
  variable: (name: string) => string,
): string {
  return piecesOf(text)
    .map((piece, place) => (place % 2 === 1 ? variable(piece) : literal(piece)))
    .join('');
}

function scriptHeaders(headers: Readonly<Record<string, string>>): string {
  const members = Object.entries(headers).map(([name, value]) => `${json(name)}: ${scriptText(value)}`);
  return `{ ${members.join(', ')} }`;
}

function pythonHeaders(headers: Readonly<Record<string, string>>): string {
  const items = Object.entries(headers).map(
    ([name, value]) => `${pythonLiteral(name)}: ${pythonText(value)}`,
  );
  return `{${items.join(', ')}}`;
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
