// @vitest-environment node
import { readFileSync } from 'node:fs';

import openapiTS, { astToString } from 'openapi-typescript';
import { expect, it } from 'vitest';

it('has the types of the API as its description gives them: else run `make gen`', async () => {
  const description = JSON.parse(readFileSync('src/gen/openapi.json', 'utf8')) as never;
  const made = astToString(await openapiTS(description));
  // The command writes a word of its own above what it makes.
  const kept = readFileSync('src/gen/api.d.ts', 'utf8').replace(/^\/\*\*[^]*?\*\/\s*/, '');
  expect(kept.trim() === made.trim()).toBe(true);
}, 60_000);
