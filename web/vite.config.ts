import { fileURLToPath } from 'node:url';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { ProxyOptions, Rolldown } from 'vite';
import { defineConfig } from 'vitest/config';

const gateway = new URL(process.env['TRUNKLINE_URL'] ?? 'http://127.0.0.1:8787').origin;

// The gateway answers its own pages only, so what passes here is given its own host and origin.
const toGateway: ProxyOptions = {
  target: gateway,
  changeOrigin: true,
  ws: true,
  headers: { origin: gateway },
};
const proxy = { '/api': toGateway, '/v1': toGateway, '/healthz': toGateway };

const page = (path: string) => fileURLToPath(new URL(path, import.meta.url));

type ChunkingContext = Parameters<Rolldown.CodeSplittingNameFunction>[1];

/** From so many pages on, what they share is loaded at once with the first of them. */
const COMMON = 6;

/**
 * What is shared is in few chunks, so that a page is a few files and not twenty: each of those waits for its turn on one
 * of the browser's six connections. What both documents need is the shell; what only two pages share stays by itself.
 */
const SHARED: readonly [string, (documents: number, pages: number) => boolean][] = [
  ['shell', (documents) => documents === 2],
  ['parts', (documents, pages) => documents === 0 && pages >= COMMON],
];

const groups = SHARED.map(([chunk, takes], place) => ({
  debugName: chunk,
  includeDependenciesRecursively: chunk === 'shell',
  priority: SHARED.length - place,
  name(id: string, modules: ChunkingContext): string | null {
    const users = usersOf(id, modules);
    const documents = [...users].filter((user) => user.endsWith('.html')).length;
    return takes(documents, users.size - documents) ? chunk : null;
  },
}));

/** The documents, and the modules loaded when they are needed, that cannot do without a module. */
function usersOf(id: string, modules: ChunkingContext, seen = new Set<string>()): Set<string> {
  const users = new Set<string>();
  if (seen.has(id)) return users;
  seen.add(id);
  const info = modules.getModuleInfo(id);
  if (!info || info.isEntry || info.dynamicImporters.length > 0) users.add(id);
  for (const importer of info?.importers ?? [])
    for (const user of usersOf(importer, modules, seen)) users.add(user);
  return users;
}

export default defineConfig({
  plugins: [svelte()],
  server: { host: '127.0.0.1', port: 3000, proxy },
  preview: { host: '127.0.0.1', proxy },
  worker: { format: 'es' },
  build: {
    outDir: '../src/trunkline/_console',
    emptyOutDir: true,
    target: 'es2022',
    manifest: true,
    // The page's Content-Security-Policy knows no `data:` scripts and no inline ones.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { main: page('index.html'), direct: page('direct/index.html') },
      output: { codeSplitting: { groups } },
    },
  },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.ts'],
  },
});
