/** The words of this page: read `own.t` where they follow the language. */
import { words } from '../../i18n/index.svelte';
import { providers as de } from '../../i18n/providers.de';
import { providers as en, type ProvidersWords } from '../../i18n/providers.en';

export const own = {
  get t(): ProvidersWords {
    return words.of({ en, de });
  },
};
