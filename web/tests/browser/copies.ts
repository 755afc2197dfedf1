/** Runs copies of requests, with the packages at hand that a user would have installed for them. */
import { mkdtempSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What runs a copy, by the ending of its file. */
export const RUNNERS = {
  sh: 'bash',
  py: fileURLToPath(new URL('../../../.venv/bin/python', import.meta.url)),
  mjs: 'node',
} as const;

/** A new folder for files with copies; whoever asks for it removes it. */
export function folderOfCopies(): string {
  const folder = mkdtempSync(join(tmpdir(), 'trunkline-copies-'));
  symlinkSync(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(folder, 'node_modules'));
  return folder;
}
