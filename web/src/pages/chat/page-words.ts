/** The words of this page that no other has: read `page.t` where they follow the language. */
import { chat as de } from '../../i18n/chat.de';
import { chat as en, type ChatWords } from '../../i18n/chat.en';
import { words } from '../../i18n/index.svelte';

export const page = {
  get t(): ChatWords {
    return words.of({ en, de });
  },
};
