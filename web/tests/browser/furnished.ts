/** A gateway with something in every list: who looks at it is signed in as its first account. */
import type { APIRequestContext, BrowserContext } from '@playwright/test';
import { WebSocket } from 'ws';

import { start, type Program } from './program';

/** What the seeded person types to sign in. */
export const PERSON = { name: 'Ada', password: 'a horse that staples batteries' };

export interface Furnished {
  readonly gateway: Program;
  /** The browser state of who is signed in. */
  readonly signedIn: StorageState;
  /** The id of a request in the log. */
  readonly logId: string;
}

type StorageState = Awaited<ReturnType<BrowserContext['storageState']>>;

const ROUTE = [
  { id: 'in', type: 'start', outputs: { next: { elementId: 'plan' } } },
  {
    id: 'plan',
    type: 'conditional',
    properties: { conditions: { 'metadata.plan': { $eq: 'paid' } } },
    outputs: { true: { elementId: 'best' }, false: { elementId: 'small' } },
  },
  {
    id: 'best',
    type: 'model',
    properties: { provider: 'openai', model: 'gpt-5-mini', timeout: 2000, retries: 1 },
    outputs: { success: { elementId: 'out' }, fallback: { elementId: 'small' } },
  },
  {
    id: 'small',
    type: 'model',
    properties: { provider: 'local', model: 'local' },
    outputs: { success: { elementId: 'out' } },
  },
  { id: 'out', type: 'end', outputs: {} },
];

const EXCHANGES = [
  ['What is the capital of France?', 'The capital of France is **Paris**.'],
  [
    'How do I reverse a list in Python?',
    'Use a slice, or `reversed`:\n\n```python\nnumbers = [1, 2, 3]\nprint(numbers[::-1])\n```',
  ],
  ['Which planet has the most moons?', 'Saturn: more than 270 are known.'],
] as const;

/** The id of a conversation that is there. */
export const CONVERSATION = 'c0ffee00c0ffee00c0ffee00c0ffee00';

/** Starts a gateway and fills it; `speak` has a local model say something real, which takes as long as it takes. */
export async function furnish(request: APIRequestContext, { speak = false } = {}): Promise<Furnished> {
  const gateway = await start(['serve', '--port', '0']);
  const at = (path: string) => gateway.url + path;
  const headers = { origin: gateway.url, 'x-trunkline-console': '1' };
  const send = async (method: string, path: string, data: object) => {
    const answer = await request.fetch(at(path), { method, data, headers });
    if (!answer.ok()) throw new Error(`${method} ${path}: ${answer.status()} ${await answer.text()}`);
    return answer;
  };
  await send('PATCH', '/api/gateways/default', { logging: { payloads: true } });
  await send('POST', '/api/gateways', { id: 'support', authenticated: true });
  await send('POST', '/api/gateways/default/keys', {
    name: 'Notebook of the data team',
    models: ['local/*'],
    limits: { concurrent: 2 },
  });
  await send('POST', '/api/gateways/default/keys', { name: 'Dashboard', scopes: ['read'] });
  await send('POST', '/api/providers/custom', {
    slug: 'house',
    name: 'House model',
    base_url: 'https://models.example.com/v1',
  });
  await send('PUT', '/api/gateways/default/routes/support', { elements: ROUTE });
  const [first] = await Promise.all([
    ...['test/echo', 'test/echo', 'test/refuse-429', ...(speak ? EXCHANGES.map(() => 'local') : [])].map(
      async (model, index) => {
        const content = EXCHANGES[index % EXCHANGES.length]?.[0] ?? '';
        const answer = await request.post(at('/v1/local/default/local/chat/completions'), {
          data: { model, messages: [{ role: 'user', content }] },
        });
        return answer.headers()['cf-aig-log-id'];
      },
    ),
    call(at('/v1/local/default/local/realtime?model=local').replace('http', 'ws')),
  ]);
  // From here on somebody must sign in, and conversations are hers.
  await expectLink(gateway);
  const token = /\/login#(\S+)/.exec(gateway.output())?.[1] ?? '';
  await send('POST', '/api/account/redeem', { token, ...PERSON });
  for (const [index, [question, answer]] of EXCHANGES.entries()) {
    const id = index === 0 ? CONVERSATION : CONVERSATION.replace('0', String(index));
    const at = Date.now() / 1000 - index * 7200;
    const message = { created_at: at, provider: 'local' };
    await send('PUT', `/api/conversations/${id}`, {
      title: question,
      model: 'local',
      provider: 'local',
      pinned: index === 1,
      head: `${id}a`,
      messages: [
        { ...message, id: `${id}q`, parent: null, role: 'user', text: question },
        { ...message, id: `${id}a`, parent: `${id}q`, role: 'assistant', text: answer, model: 'local' },
      ],
    });
  }
  await send('POST', '/api/users', { name: 'Grace', role: 'viewer' });
  return { gateway, signedIn: await request.storageState(), logId: first ?? '' };
}

async function expectLink(gateway: Program): Promise<void> {
  while (!gateway.output().includes('/login#')) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** A short spoken session, typed. */
function call(url: string): Promise<void> {
  const socket = new WebSocket(url);
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.on('message', (data: Buffer) => {
      const { type } = JSON.parse(data.toString()) as { type: string };
      if (type === 'session.created') {
        const content = [{ type: 'input_text', text: 'Say hello.' }];
        for (const event of [
          { type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } },
          { type: 'conversation.item.create', item: { type: 'message', role: 'user', content } },
          { type: 'response.create' },
        ])
          socket.send(JSON.stringify(event));
      }
      if (type === 'response.done') socket.close();
    });
  });
}
