import { afterEach, describe, expect, it, vi } from 'vitest';

import { literally } from './environment-text';
import { asCurl, asJavaScript, asPython, COPIES, variablesOf, type CopiedRequest } from './request-copy';

const HEADERS = { 'cf-aig-skip-cache': 'true', Authorization: 'Bearer sk-secret', 'x-api-key': 'sk-secret' };
const CHAT: CopiedRequest = {
  method: 'POST',
  url: 'http://127.0.0.1:8787/v1/local/default/local/chat/completions',
  headers: HEADERS,
  body: {
    model: 'local',
    messages: [{ role: 'user', content: "It's me" }],
    temperature: 0.5,
    thinking: { budget: null },
    stream: true,
  },
};
const EMBEDDING: CopiedRequest = {
  method: 'POST',
  url: 'http://127.0.0.1:8787/v1/local/default/openai/embeddings',
  headers: HEADERS,
  body: { input: 'a' },
};
const SESSION: CopiedRequest = {
  method: 'GET',
  url: 'ws://127.0.0.1:8787/v1/a/g/local/realtime?model=local',
  headers: HEADERS,
};

const KEY = { authorization: 'Bearer ${OPENAI_API_KEY}' };
function withKey(request: CopiedRequest): CopiedRequest {
  return { ...request, headers: { ...request.headers, ...KEY } };
}

// What a shell, Python and Node.js make of these is tested where they run: tests/browser/logs.spec.ts and probe.spec.ts.
describe('copies of a request', () => {
  afterEach(() => vi.unstubAllGlobals());

  for (const [kind, request] of Object.entries({ chat: CHAT, other: EMBEDDING, session: SESSION })) {
    for (const { label, of } of COPIES) {
      it(`hold no secret, and name where the key is: ${kind} as ${label}`, () => {
        const copy = of(withKey(request));
        expect(copy).not.toContain('sk-secret');
        expect(copy).toContain('cf-aig-skip-cache');
        expect(copy).toContain('OPENAI_API_KEY');
        expect(of(request)).not.toContain('API_KEY');
      });
    }
  }

  it('quote for the shell', () => {
    expect(asCurl(CHAT)).toContain("It'\\''s me");
  });

  it('write Python as Python, and what its client has no name for apart', () => {
    const copy = asPython(withKey(CHAT));
    expect(copy).toContain('base_url="http://127.0.0.1:8787/v1/local/default/local"');
    expect(copy).toContain('os.environ["OPENAI_API_KEY"]');
    expect(copy).toContain('stream=True,');
    expect(copy).toContain('temperature=0.5,');
    expect(copy).toContain('extra_body={"thinking": {"budget": None}},');
  });

  it('give the client its key, and other headers beside it', () => {
    const request = withKey({ ...CHAT, headers: { 'cf-aig-authorization': 'Bearer ${TOKEN}' } });
    const python = asPython(request);
    expect(python).toContain('api_key=os.environ["OPENAI_API_KEY"])');
    expect(python).toContain(`extra_headers={"cf-aig-authorization": f"Bearer {os.environ['TOKEN']}"},`);
    const script = asJavaScript(request);
    expect(script).toContain('apiKey: process.env.OPENAI_API_KEY }');
    expect(script).toContain('{ headers: { "cf-aig-authorization": `Bearer ${process.env.TOKEN}` } }');
    expect(script).not.toContain('"authorization"');
    const raw = asPython({ ...CHAT, headers: { authorization: 'Token ${TOKEN}' } });
    expect(raw).toContain('api_key="none")');
    expect(raw).toContain(`extra_headers={"authorization": f"Token {os.environ['TOKEN']}"},`);
  });

  it('write a variable in each language, and what is around it literally', () => {
    const request = {
      ...EMBEDDING,
      headers: { 'api-key': 'a!"`$\\{x} ${ONE}${TWO_2}', 'x-api-key': '${ONE}' },
    };
    expect(variablesOf(request)).toEqual(['ONE', 'TWO_2']);
    const shell = asCurl(request);
    expect(shell).toContain('-H "api-key: a"\'!\'"\\"\\`\\$\\\\{x} ${ONE}${TWO_2}"');
    expect(shell).toContain('-H "x-api-key: ${ONE}"');
    const python = asPython(request);
    expect(python).toContain(`f"a!\\"\`$\\\\{{x}} {os.environ['ONE']}{os.environ['TWO_2']}"`);
    expect(python).toContain('"x-api-key": os.environ["ONE"]');
    const script = asJavaScript(request);
    expect(script).toContain('`a!"\\`\\$\\\\{x} ${process.env.ONE}${process.env.TWO_2}`');
    expect(script).toContain('"x-api-key": process.env.ONE');
  });

  it('read no variable that somebody else wrote', () => {
    const text = 'a $${HOME} ${PATH} ${x}';
    const request = {
      ...EMBEDDING,
      url: `${EMBEDDING.url}?q=${literally('${HOME}')}`,
      headers: { 'cf-aig-metadata': literally(text) },
    };
    expect(variablesOf(request)).toEqual([]);
    expect(asCurl(request)).toContain(`-H 'cf-aig-metadata: ${text}'`);
    expect(asCurl(request)).toContain("?q=${HOME}'");
    const unread = { ...EMBEDDING, headers: { authorization: literally('Bearer ${HOME}') } };
    expect(asCurl(unread)).not.toContain('authorization');
  });

  it('leave a variable in an address as it is', () => {
    const url = 'http://127.0.0.1:8787/a b/${ONE}/c d%20e?key=${TWO}&x=é';
    expect(asCurl({ method: 'GET', url })).toBe(
      'curl -N "http://127.0.0.1:8787/a%20b/${ONE}/c%20d%20e?key=${TWO}&x=%C3%A9"',
    );
    vi.stubGlobal('location', { href: 'http://127.0.0.1:8787/chat' });
    expect(asJavaScript({ method: 'GET', url: '/v1?key=${TWO}' })).toContain(
      '`http://127.0.0.1:8787/v1?key=${process.env.TWO}`',
    );
  });

  it('offer the sub-protocols of a session, and none that holds a secret', () => {
    const subprotocols = ['realtime', 'openai-insecure-api-key.${KEY}', 'cf-aig-authorization.sk-secret'];
    const request = { ...SESSION, subprotocols };
    for (const { of } of COPIES) expect(of(request)).not.toContain('sk-secret');
    expect(asCurl(request)).toContain('--protocol="realtime, openai-insecure-api-key.${KEY}"');
    expect(asPython(request)).toContain(
      `subprotocols=["realtime", f"openai-insecure-api-key.{os.environ['KEY']}"],`,
    );
    expect(asJavaScript(request)).toContain('["realtime", `openai-insecure-api-key.${process.env.KEY}`], {');
  });

  it('name the method where it is not the usual one', () => {
    expect(asCurl(CHAT)).not.toContain('-X');
    expect(asCurl({ method: 'GET', url: CHAT.url })).not.toContain('-X');
    expect(asCurl({ ...EMBEDDING, method: 'PATCH' })).toContain("-X 'PATCH'");
  });

  it('keep the name under which an answer is cached', () => {
    expect(asCurl({ ...CHAT, headers: { 'cf-aig-cache-key': 'faq' } })).toContain('cf-aig-cache-key: faq');
  });

  it('make the address absolute', () => {
    vi.stubGlobal('location', { href: 'http://127.0.0.1:8787/chat' });
    const copied = asJavaScript({ ...CHAT, url: '/v1/a/g/openai/chat/completions' });
    expect(copied).toContain('baseURL: "http://127.0.0.1:8787/v1/a/g/openai"');
  });
});
