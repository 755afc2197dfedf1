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
const COMMON = 5;

/**
 * Few chunks, so that a page is a handful of files and not twenty: each waits for its turn on one of the browser's six
 * connections, and costs a slow machine 20 ms however small it is. What both documents need is the shell, what many pages
 * need is their parts, and what one page needs is its own; the rest, and what is loaded when it is wanted, stays apart.
 */
function chunkOf(id: string, modules: ChunkingContext): string | null {
  const roots = rootsOf(id, modules);
  const documents = [...roots].filter((root) => root.endsWith('.html'));
  if (documents.length === 2) return 'shell';
  if (documents.some((path) => !path.includes('/direct/'))) return null;
  const pages = new Set([...roots].flatMap((root) => [...pagesOf(root, modules)]));
  const [only] = pages;
  if (pages.size === 1 && only && roots.has(only)) return /(\w+)\.svelte$/.exec(only)?.[1] ?? null;
  if (pages.size < COMMON) return null;
  // The voice is the heaviest page; what it does without is not loaded with it.
  return [...pages].some((path) => /VoicePage|\/direct\//.test(path)) ? 'parts' : 'more-parts';
}

/** The documents, and the modules loaded when they are needed, that cannot do without a module. */
function rootsOf(id: string, modules: ChunkingContext, seen = new Set<string>()): Set<string> {
  const roots = new Set<string>();
  if (seen.has(id)) return roots;
  seen.add(id);
  const info = modules.getModuleInfo(id);
  if (!info || info.isEntry || info.dynamicImporters.length > 0) roots.add(id);
  for (const importer of info?.importers ?? [])
    for (const root of rootsOf(importer, modules, seen)) roots.add(root);
  return roots;
}

/** The pages, or documents, on which a root is loaded. */
function pagesOf(root: string, modules: ChunkingContext, seen = new Set<string>()): Set<string> {
  if (/Page\.svelte$|\.html$/.test(root)) return new Set([root]);
  const pages = new Set<string>();
  if (seen.has(root)) return pages;
  seen.add(root);
  for (const importer of modules.getModuleInfo(root)?.dynamicImporters ?? [])
    for (const above of rootsOf(importer, modules))
      for (const page of pagesOf(above, modules, seen)) pages.add(page);
  return pages;
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
      output: { codeSplitting: { groups: [{ name: chunkOf, includeDependenciesRecursively: false }] } },
    },
  },
  test: {
    // What needs a document says so in its first line: to make one for each file takes as long as all tests.
    environment: 'node',
    include: ['src/**/*.test.ts'],
  },
});
