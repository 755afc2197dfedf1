/** The words of this page: read `own.t` where they follow the language. */
import { ApiFailure } from '../../core/api/console';
import { words } from '../../i18n/index.svelte';
import { login as de } from '../../i18n/login.de';
import { login as en, type LoginWords } from '../../i18n/login.en';

export const own = {
  get t(): LoginWords {
    return words.of({ en, de });
  },
};

/** Why the gateway refused; what the words here do not cover, in its own. Throws what is no refusal. */
export function reason(error: unknown): string {
  if (!(error instanceof ApiFailure)) throw error;
  const known: Readonly<Record<string, string>> = own.t.problems;
  return known[error.code] ?? error.message;
}
