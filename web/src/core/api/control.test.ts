import { afterEach, expect, it, vi } from 'vitest';

import { ConsoleApi } from './console';
import { ProvidersApi } from './providers';
import { RoutesApi } from './routes';

function serve(): ReturnType<typeof vi.fn<typeof fetch>> {
  const served = vi.fn<typeof fetch>(async (_, init) =>
    init?.method === 'DELETE' ? new Response(null, { status: 204 }) : Response.json({}),
  );
  vi.stubGlobal('fetch', served);
  return served;
}

function asked(served: ReturnType<typeof serve>): string[] {
  return served.mock.calls.map(([url, init]) => {
    const body = init?.body === undefined ? '' : ` ${String(init.body)}`;
    return `${init?.method} ${String(url)}${body}`;
  });
}

afterEach(() => vi.unstubAllGlobals());

it('names routes by their gateway and name, whatever characters these have', async () => {
  const served = serve();
  const routes = new RoutesApi(new ConsoleApi());
  await routes.list('my gateway');
  await routes.show('g', 'r', 'v1');
  await routes.put('g', 'a/b', [{ id: 'x' }]);
  await routes.deploy('g', 'r', 'v1');
  await routes.delete('g', 'r');
  await routes.simulate('g', { route: 'r', request: {} });
  expect(asked(served)).toEqual([
    'GET /api/gateways/my%20gateway/routes',
    'GET /api/gateways/g/routes/r?version=v1',
    'PUT /api/gateways/g/routes/a%2Fb {"elements":[{"id":"x"}]}',
    'POST /api/gateways/g/routes/r/deploy {"version":"v1"}',
    'DELETE /api/gateways/g/routes/r',
    'POST /api/gateways/g/routes/simulate {"route":"r","request":{}}',
  ]);
});

it('asks for providers, and changes those that were added', async () => {
  const served = serve();
  const providers = new ProvidersApi(new ConsoleApi());
  await providers.all();
  await providers.storedKeys('g');
  await providers.add({ slug: 'mine', base_url: 'https://ai.example.com' });
  await providers.change('mine', { enabled: false });
  await providers.remove('mine');
  expect(asked(served)).toEqual([
    'GET /api/providers',
    'GET /api/gateways/g/stored-keys',
    'POST /api/providers/custom {"slug":"mine","base_url":"https://ai.example.com"}',
    'PATCH /api/providers/custom/mine {"enabled":false}',
    'DELETE /api/providers/custom/mine',
  ]);
});
