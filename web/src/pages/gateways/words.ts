/** The words of this page: read `own.t` where they follow the language. */
import { gateways as de } from '../../i18n/gateways.de';
import { gateways as en, type GatewaysWords } from '../../i18n/gateways.en';
import { words } from '../../i18n/index.svelte';

export const own = {
  get t(): GatewaysWords {
    return words.of({ en, de });
  },
};
