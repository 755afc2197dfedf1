// The console stays small: this fails the build when a page weighs more than was agreed.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { closure, manifest, output, scriptsOf, stylesOf } from './manifest.mjs';

const KILOBYTE = 1000;
// Of the whole: docs/decisions/0014-what-the-console-may-weigh.md.
const LIMITS = { firstScript: 70, styles: 12, lazyPage: 40, everything: 1050 };

const compressed = (file) => gzipSync(readFileSync(join(output, file)), { level: 9 }).length / KILOBYTE;
const total = (files) => [...files].reduce((sum, file) => sum + compressed(file), 0);

const failures = [];
function hold(what, kilobytes, limit) {
  const line = `${what.padEnd(44)} ${kilobytes.toFixed(1).padStart(7)} of ${limit} kB`;
  console.log(line);
  if (kilobytes > limit) failures.push(line);
}

const entries = Object.keys(manifest).filter((name) => manifest[name].isEntry);
for (const entry of entries) {
  const first = closure(entry);
  hold(`${entry}: first scripts, gzip`, total(scriptsOf(first)), LIMITS.firstScript);
  hold(`${entry}: styles, gzip`, total(stylesOf(first)), LIMITS.styles);
  const reachable = [...first].flatMap((name) => manifest[name].dynamicImports ?? []);
  for (const page of new Set(reachable)) {
    const added = [...closure(page)].filter((name) => !first.has(name));
    hold(`  ${page}: added scripts, gzip`, total(scriptsOf(added)), LIMITS.lazyPage);
    hold(`  ${page}: added styles, gzip`, total(stylesOf(added)), LIMITS.styles);
  }
}

const files = readdirSync(output, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !entry.parentPath.includes('.vite') && !/\.(br|gz)$/.test(entry.name))
  .map((entry) => statSync(join(entry.parentPath, entry.name)).size);
hold('everything, not compressed', files.reduce((sum, size) => sum + size, 0) / KILOBYTE, LIMITS.everything);

if (failures.length > 0) {
  console.error(`\nToo heavy:\n${failures.join('\n')}`);
  process.exit(1);
}
