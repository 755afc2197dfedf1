/** The words of this page: read `own.t` where they follow the language. */
import { words } from '../../i18n/index.svelte';
import { people as de } from '../../i18n/people.de';
import { people as en, type PeopleWords } from '../../i18n/people.en';

export const own = {
  get t(): PeopleWords {
    return words.of({ en, de });
  },
};
