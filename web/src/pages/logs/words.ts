/** The words of this page: read `own.t` where they follow the language. */
import { words } from '../../i18n/index.svelte';
import { logs as de } from '../../i18n/logs.de';
import { logs as en, type LogsWords } from '../../i18n/logs.en';

export const own = {
  get t(): LogsWords {
    return words.of({ en, de });
  },
};
