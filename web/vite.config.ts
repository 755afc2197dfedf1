import { fileURLToPath } from 'node:url';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { ProxyOptions } from 'vite';
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
    rolldownOptions: { input: { main: page('index.html'), direct: page('direct/index.html') } },
  },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.ts'],
  },
});
