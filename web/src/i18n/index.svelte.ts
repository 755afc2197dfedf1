/** Words in the reader's language. English is the source; a catalogue that misses a key does not compile. */
import { preferences } from '../app/preferences';
import type { Catalogue } from './catalogue';
import { de } from './de';
import { en } from './en';

export const languages = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof languages;

const catalogues: Record<Language, Catalogue> = { en, de };

class Words {
  language = $state<Language>(preferred());
  /** Making one takes far longer than using it, and some numbers change many times a second. */
  readonly #numbers = new Map<string, Intl.NumberFormat>();

  /** The catalogue to read from in a template: `words.t.chat.send`. */
  get t(): Catalogue {
    return this.of(catalogues);
  }

  /** Choose among the words that a page brings itself, so that they are loaded with it. */
  of<Own>(own: Readonly<Record<Language, Own>>): Own {
    return own[this.language];
  }

  choose(language: Language): void {
    this.language = language;
    preferences.write('language', language);
    this.announce();
  }

  /** Tells the browser and assistive technology which language the document is in. */
  announce(): void {
    document.documentElement.lang = this.language;
  }

  number(value: number, options: Intl.NumberFormatOptions = {}): string {
    const kind = this.language + JSON.stringify(options);
    const known = this.#numbers.get(kind) ?? new Intl.NumberFormat(this.language, options);
    this.#numbers.set(kind, known);
    return known.format(value);
  }

  milliseconds(value: number): string {
    return this.number(Math.round(value), { style: 'unit', unit: 'millisecond', unitDisplay: 'short' });
  }
}

export const words = new Words();

/** Puts values into the places of a sentence: `fill('after {n} s', { n: 3 })`. */
export function fill(sentence: string, values: Readonly<Record<string, string | number>>): string {
  return sentence.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place));
}

function preferred(): Language {
  const wanted = [preferences.read('language'), ...navigator.languages];
  for (const tag of wanted) {
    const language = tag?.slice(0, 2);
    if (language === 'en' || language === 'de') return language;
  }
  return 'en';
}
