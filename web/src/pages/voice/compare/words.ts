/** The words of the comparison: read `own.t` where they follow the language. */
import { compare as de } from '../../../i18n/compare.de';
import { compare as en, type CompareWords } from '../../../i18n/compare.en';
import { words } from '../../../i18n/index.svelte';

export const own = {
  get t(): CompareWords {
    return words.of({ en, de });
  },
};
