/** The words of this page: read `own.t` where they follow the language. */
import { words } from '../../i18n/index.svelte';
import { sessions as de } from '../../i18n/sessions.de';
import { sessions as en, type SessionsWords } from '../../i18n/sessions.en';

export const own = {
  get t(): SessionsWords {
    return words.of({ en, de });
  },
};

/** US dollars; what a session costs is often less than a cent. */
export function dollars(cost: number): string {
  return words.number(cost, { style: 'currency', currency: 'USD', maximumFractionDigits: 4 });
}

/** A Unix time as the reader's clock and calendar show it. */
export function moment(seconds: number): string {
  return new Intl.DateTimeFormat(words.language, { dateStyle: 'medium', timeStyle: 'short' }).format(
    seconds * 1000,
  );
}
