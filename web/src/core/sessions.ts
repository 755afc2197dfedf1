/** What is reckoned from what the gateway tells of realtime sessions. */
import type { OpenSession, Tokens } from './api/console';

export type TokenKind = keyof Tokens;

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;

/** How long to wait before the stream is asked for again, after so many times in a row without an answer. */
export function pauseAfter(failures: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1));
}

/** As on a clock: "2:14", and "1:02:05" from an hour on. */
export function spanOf(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = (part: number): string => String(part).padStart(2, '0');
  return hours > 0 ? `${hours}:${padded(minutes)}:${padded(rest)}` : `${minutes}:${padded(rest)}`;
}

/** Whether a session that was open is no more. */
export function hasEnded(before: readonly OpenSession[], now: readonly OpenSession[]): boolean {
  const open = new Set(now.map(({ id }) => id));
  return before.some(({ id }) => !open.has(id));
}

/** The counts that are not nought, in the order of input, cache and output. */
export function tokenCounts(tokens: Tokens): readonly (readonly [TokenKind, number])[] {
  return KINDS.flatMap((kind) => {
    const count = tokens[kind] ?? 0;
    return count > 0 ? [[kind, count] as const] : [];
  });
}

const KINDS: readonly TokenKind[] = [
  'input_text',
  'input_audio',
  'input_image',
  'cached_text',
  'cached_audio',
  'cached_image',
  'output_text',
  'output_audio',
];
