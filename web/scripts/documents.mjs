// Writes a document for each page, which differs from index.html in one thing: it names the files of its page, so that a
// browser asks for them at once and not when the first script has run. Any of them shows any page.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { closure, manifest, output, scriptsOf, stylesOf } from './manifest.mjs';

const ENTRY = 'index.html';
const HOME = 'overview';

const plain = readFileSync(join(output, ENTRY), 'utf8');
const first = closure(ENTRY);

const pages = [...first].flatMap((name) => manifest[name].dynamicImports ?? []);
for (const module of new Set(pages)) {
  const page = /^src\/pages\/(\w+)\/\w+Page\.svelte$/.exec(module)?.[1];
  if (!page) continue;
  const added = [...closure(module)].filter((name) => !first.has(name));
  const links = [
    ...[...scriptsOf(added)].map((file) => `<link rel="modulepreload" crossorigin href="/${file}" />`),
    ...[...stylesOf(added)].map((file) => `<link rel="stylesheet" crossorigin href="/${file}" />`),
  ];
  const folder = join(output, page === HOME ? '' : page);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'index.html'), plain.replace('</head>', `${links.join('')}</head>`));
}
