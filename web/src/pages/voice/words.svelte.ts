/** The words of the voice pages: read `own.t` where they follow the language. */
import { words } from '../../i18n/index.svelte';
import { voice as en, type VoiceWords } from '../../i18n/voice.en';

class Own {
  #german = $state.raw<VoiceWords | null>(null);

  /** English until another language has come. */
  get t(): VoiceWords {
    void this.load();
    return words.of({ en, de: this.#german ?? en });
  }

  /** Whoever waits for this before showing anything spares a German reader a flash of English. Never rejects. */
  async load(): Promise<void> {
    if (words.language !== 'de' || this.#german) return;
    const found = await import('../../i18n/voice.de').catch(() => null); // better in English than not at all
    if (found) this.#german = found.voice;
  }
}

export const own = new Own();
