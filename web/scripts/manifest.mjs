// What the build made: its folder, its manifest, and which chunks need which.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const output = fileURLToPath(new URL('../../src/trunkline/_console/', import.meta.url));

export const manifest = JSON.parse(readFileSync(join(output, '.vite/manifest.json'), 'utf8'));

/** The chunks a chunk cannot do without: itself and what it imports, not what it may load later. */
export function closure(name, found = new Set()) {
  if (found.has(name)) return found;
  found.add(name);
  for (const imported of manifest[name].imports ?? []) closure(imported, found);
  return found;
}

export const scriptsOf = (chunks) => new Set([...chunks].map((name) => manifest[name].file));
export const stylesOf = (chunks) => new Set([...chunks].flatMap((name) => manifest[name].css ?? []));
