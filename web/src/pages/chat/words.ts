/** The words of the list of conversations: read `own.t` where they follow the language. */
import { conversations as de } from '../../i18n/conversations.de';
import { conversations as en, type ConversationsWords } from '../../i18n/conversations.en';
import { words } from '../../i18n/index.svelte';

export const own = {
  get t(): ConversationsWords {
    return words.of({ en, de });
  },
};
