/** The words of this page: read `own.t` where they follow the language. */
import { lengthOf, limitWords } from '../../app/limit-words';
import { dollars } from '../../app/formats';
import { isUnit, unitOf } from '../../core/limits';
import { access as de } from '../../i18n/access.de';
import { access as en, type AccessWords } from '../../i18n/access.en';
import { fill, words } from '../../i18n/index.svelte';

export const own = {
  get t(): AccessWords {
    return words.of({ en, de });
  },
};

/** An amount of what is measured. */
export function amount(measure: string, value: number): string {
  return measure === 'cost' ? dollars(value) : words.number(value, { maximumFractionDigits: 2 });
}

/** `per minute`, or `per 10 minutes`. */
export function windowWords(seconds: number): string {
  const unit = unitOf(seconds);
  if (isUnit(unit)) return limitWords.t.per[unit];
  return fill(limitWords.t.other, { length: lengthOf(seconds, words.language) });
}

/** A time as it is told of a limit: of today by the clock alone. */
export function when(seconds: number): string {
  const then = new Date(seconds * 1000);
  const isToday = then.toDateString() === new Date().toDateString();
  return words.moment(seconds * 1000, { timeStyle: 'short', ...(isToday ? {} : { dateStyle: 'medium' }) });
}
