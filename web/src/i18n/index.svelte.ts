/**
 * Words in the reader's language. English is the source and always there; a catalogue that misses a key does not
 * compile. Every other language is loaded when somebody reads it.
 */
import { preferences } from '../app/preferences';
import type { Catalogue } from './catalogue';
import { en } from './en';

export const languages = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof languages;
/**
 * Made of English at run time, to see what a translation would find: words that are in no catalogue and too little room
 * (`en-XA`), and what does not turn with the direction of writing (`ar-XB`). Only the stored preference chooses them.
 */
type Trial = 'en-XA' | 'ar-XB';
type Rewrite = <Own>(own: Own) => Own;

/** Options that change nothing of a small count. */
const OF_LARGER: ReadonlySet<string> = new Set(['maximumFractionDigits', 'notation']);

class Words {
  /** The language of what is shown, as a tag that `Intl` knows. */
  language = $state.raw<Language | Trial>('en');
  #shell = $state.raw<Catalogue>(en);
  #rewrite = $state.raw<Rewrite | null>(null);
  /** Making one takes far longer than using it, and some numbers change many times a second. */
  readonly #numbers = new Map<string, Intl.NumberFormat>();
  readonly #moments = new Map<string, Intl.DateTimeFormat>();

  /** The catalogue to read from in a template: `words.t.chat.send`. */
  get t(): Catalogue {
    return this.#shell;
  }

  /** Choose among the words that a page brings itself, so that they are loaded with it. */
  of<Own>(own: Readonly<Record<Language, Own>>): Own {
    if (this.#rewrite) return this.#rewrite(own.en);
    return own[this.language === 'de' ? 'de' : 'en'];
  }

  /** Speak the reader's language: before anything is shown. */
  start(): Promise<void> {
    return this.#speak(preferred());
  }

  /** Change the language, and remember it. Stays as it is where the words do not come. */
  choose(language: Language): Promise<void> {
    preferences.write('language', language);
    return this.#speak(language);
  }

  number(value: number, options: Intl.NumberFormatOptions = {}): string {
    // Every language that is offered writes these alike, and the first format of a page takes a slow machine 200 ms.
    if (isSmallCount(value) && Object.keys(options).every((name) => OF_LARGER.has(name)))
      return String(value);
    const kind = this.language + JSON.stringify(options);
    const known = this.#numbers.get(kind) ?? new Intl.NumberFormat(this.language, options);
    this.#numbers.set(kind, known);
    return known.format(value);
  }

  milliseconds(value: number): string {
    return `${this.number(Math.round(value))} ms`;
  }

  /** A Unix time in milliseconds, as the reader's clock and calendar show it. */
  moment(milliseconds: number, options: Intl.DateTimeFormatOptions): string {
    const kind = this.language + JSON.stringify(options);
    const known = this.#moments.get(kind) ?? new Intl.DateTimeFormat(this.language, options);
    this.#moments.set(kind, known);
    return known.format(milliseconds);
  }

  async #speak(language: Language | Trial): Promise<void> {
    try {
      const rewrite = isTrial(language) ? (await import('./trial')).rewritten : null;
      this.#shell = language === 'de' ? (await import('./de')).de : (rewrite?.<Catalogue>(en) ?? en);
      this.#rewrite = rewrite;
      this.language = language;
    } catch {
      return; // the gateway is away, which the page says elsewhere
    }
    // For the browser and assistive technology.
    document.documentElement.lang = language;
    document.documentElement.dir = language === 'ar-XB' ? 'rtl' : 'ltr';
  }
}

export const words = new Words();

/** Puts values into the places of a sentence: `fill('after {n} s', { n: 3 })`. */
export function fill(sentence: string, values: Readonly<Record<string, string | number>>): string {
  return sentence.replace(/\{(\w+)\}/g, (place, name: string) => String(values[name] ?? place));
}

function preferred(): Language | Trial {
  const stored = preferences.read('language');
  if (isTrial(stored)) return stored;
  for (const tag of [stored, ...navigator.languages]) {
    const language = tag?.slice(0, 2);
    if (language === 'en' || language === 'de') return language;
  }
  return 'en';
}

function isSmallCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 1000;
}

function isTrial(tag: string | null): tag is Trial {
  return tag === 'en-XA' || tag === 'ar-XB';
}
