/** The words of this page: read `own.t` where they follow the language. */
import { history as de } from '../../i18n/history.de';
import { history as en, type HistoryWords } from '../../i18n/history.en';
import { fill, words } from '../../i18n/index.svelte';

export const own = {
  get t(): HistoryWords {
    return words.of({ en, de });
  },
};

/** A sentence about so many things. */
export function counted(
  forms: { readonly one: string; readonly other: string },
  count: number,
  values: Readonly<Record<string, string | number>> = {},
): string {
  const form = new Intl.PluralRules(words.language).select(count) === 'one' ? forms.one : forms.other;
  return fill(form, { ...values, count: words.number(count) });
}
