/** What the fake microphone says, and where its recordings are kept. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const MICROPHONE = join(tmpdir(), `trunkline-microphone-${process.env['USER'] ?? 'ci'}`);

export const QUESTION = 'What is the capital of France?';
export const REQUEST = 'Tell me a very long story about the sea and the people who live there.';

/** The browser's options for a microphone that plays one of the recordings, once. */
export function microphone(name: 'question' | 'interruption' | 'silence'): string {
  return `--use-file-for-fake-audio-capture=${join(MICROPHONE, `${name}.wav`)}%noloop`;
}

/** How many of the first text's words the second has, 0 to 1. */
export function sharedWords(first: string, second: string): number {
  const words = (text: string) => text.toLowerCase().match(/[a-z0-9']+/g) ?? [];
  const others = new Set(words(second));
  const own = words(first);
  return own.filter((word) => others.has(word)).length / Math.max(1, own.length);
}
