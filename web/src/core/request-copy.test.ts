import { afterEach, describe, expect, it, vi } from 'vitest';

import { asCurl, asJavaScript, asPython, COPIES, type CopiedRequest } from './request-copy';

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

// What a shell, Python and Node.js make of these is tested where they run: tests/e2e/test_copied_requests.py.
describe('copies of a request', () => {
  afterEach(() => vi.unstubAllGlobals());

  for (const [kind, request] of Object.entries({ chat: CHAT, other: EMBEDDING, session: SESSION })) {
    for (const { label, of } of COPIES) {
      it(`hold no secret, and name where the key is: ${kind} as ${label}`, () => {
        const copy = of(request, { keyVariable: 'OPENAI_API_KEY' });
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
    const copy = asPython(CHAT, { keyVariable: 'OPENAI_API_KEY' });
    expect(copy).toContain('base_url="http://127.0.0.1:8787/v1/local/default/local"');
    expect(copy).toContain('os.environ["OPENAI_API_KEY"]');
    expect(copy).toContain('stream=True,');
    expect(copy).toContain('temperature=0.5,');
    expect(copy).toContain('extra_body={"thinking": {"budget": None}},');
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
