/** Words of limits and lengths of time, shared by the pages that show them. */
import { secondsIn } from '../core/limits';
import { words } from '../i18n/index.svelte';
import { limits as de } from '../i18n/limits.de';
import { limits as en, type LimitsWords } from '../i18n/limits.en';

export const limitWords = {
  get t(): LimitsWords {
    return words.of({ en, de });
  },
};

const SIZES = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const;

/** A length of time as the reader's language has it: `30 minutes`; of text that is none, the text. */
export function lengthOf(length: number | string, language: string): string {
  const seconds = typeof length === 'number' ? length : secondsIn(length);
  if (seconds === null) return String(length);
  const [unit, size] = SIZES.find(([, one]) => seconds >= one && seconds % one === 0) ?? ['second', 1];
  return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(seconds / size);
}
