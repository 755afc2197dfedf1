/** The words of this page: read `own.t` where they follow the language. */
import { words } from '../../i18n/index.svelte';
import { sessions as de } from '../../i18n/sessions.de';
import { sessions as en, type SessionsWords } from '../../i18n/sessions.en';

export const own = {
  get t(): SessionsWords {
    return words.of({ en, de });
  },
};
