/** The words of the list of conversations, and the further ones of this page: read `.t` where they follow the language. */
import { chat as chatDe } from '../../i18n/chat.de';
import { chat as chatEn, type ChatWords } from '../../i18n/chat.en';
import { conversations as de } from '../../i18n/conversations.de';
import { conversations as en, type ConversationsWords } from '../../i18n/conversations.en';
import { words } from '../../i18n/index.svelte';

export const own = {
  get t(): ConversationsWords {
    return words.of({ en, de });
  },
};

export const page = {
  get t(): ChatWords {
    return words.of({ en: chatEn, de: chatDe });
  },
};
