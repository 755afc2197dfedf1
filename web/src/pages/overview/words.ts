/** The words of this page: read `own.t` where they follow the language. */
import { overview as de } from '../../i18n/overview.de';
import { overview as en, type OverviewWords } from '../../i18n/overview.en';
import { words } from '../../i18n/index.svelte';

export const own = {
  get t(): OverviewWords {
    return words.of({ en, de });
  },
};
