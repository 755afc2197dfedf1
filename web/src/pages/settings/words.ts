/** The words of this page: read `own.t` where they follow the language. */
import { words } from '../../i18n/index.svelte';
import { settings as de } from '../../i18n/settings.de';
import { settings as en, type SettingsWords } from '../../i18n/settings.en';

export const own = {
  get t(): SettingsWords {
    return words.of({ en, de });
  },
};
