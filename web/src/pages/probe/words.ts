/** The words of this page: read `own.t` where they follow the language. */
import { words } from '../../i18n/index.svelte';
import { probe as de } from '../../i18n/probe.de';
import { probe as en, type ProbeWords } from '../../i18n/probe.en';

export const own = {
  get t(): ProbeWords {
    return words.of({ en, de });
  },
};
