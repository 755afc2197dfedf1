/** What the fake microphone says, and where its recordings are kept. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ALLOWED, LAUNCH } from './chromium';

export const MICROPHONE = join(tmpdir(), `trunkline-microphone-${process.env['USER'] ?? 'ci'}`);

export const QUESTION = 'What is the capital of France?';
export const REQUEST = 'Tell me a very long story about the sea and the people who live there.';

/** Test options for a browser whose microphone plays one of the recordings, once. */
export function microphone(name: 'question' | 'interruption' | 'silence') {
  const file = `--use-file-for-fake-audio-capture=${join(MICROPHONE, `${name}.wav`)}%noloop`;
  return { launchOptions: { ...LAUNCH, args: [...LAUNCH.args, ...ALLOWED, file] } };
}

/** Test options for a browser that is not allowed to use the microphone. */
export const blockedMicrophone = { launchOptions: LAUNCH };

/** How many of the first text's words the second has, 0 to 1. */
export function sharedWords(first: string, second: string): number {
  const words = (text: string) => text.toLowerCase().match(/[a-z0-9']+/g) ?? [];
  const others = new Set(words(second));
  const own = words(first);
  return own.filter((word) => others.has(word)).length / Math.max(1, own.length);
}
