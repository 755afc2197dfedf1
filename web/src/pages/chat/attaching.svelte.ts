/** Pictures on their way into a question: whether the model looks at any, and what is wrong with those that are not taken. */
import { SvelteSet } from 'svelte/reactivity';

import { app } from '../../app/console.svelte';
import { MOST_CHARACTERS, MOST_PICTURES, readPicture, type Picture } from '../../core/pictures';
import { askWhetherSees, isKnownToSee } from '../../core/vision';
import { fill } from '../../i18n/index.svelte';
import { chat } from './chat.svelte';
import { page } from './page-words';

/** Models that somebody says look at pictures, or whose provider says so. */
const seeing = new SvelteSet<string>();

class Attaching {
  /** What was wrong with what was last offered; empty where nothing was. */
  problem = $state('');
  /** Waits for somebody to say that the model looks at pictures. */
  pending = $state.raw<readonly File[]>([]);

  /** Take the pictures among some files, if the model looks at any. */
  async offer(files: readonly File[]): Promise<void> {
    const pictures = files.filter(({ type }) => type.startsWith('image/'));
    const target = chat.target;
    this.problem = '';
    this.pending = [];
    if (pictures.length === 0 || !target) return;
    const { provider, model } = target;
    if (provider.slug === 'local') {
      this.problem = page.t.localBlind;
      return;
    }
    if (!isKnownToSee(model) && !seeing.has(model)) {
      const list = app.modelsPath(provider);
      if (list !== null && (await askWhetherSees(list, model))) seeing.add(model);
      else {
        this.pending = pictures;
        return;
      }
    }
    await this.#take(pictures);
  }

  /** They are to be sent although nobody knows whether the model looks at them. */
  async insist(): Promise<void> {
    if (chat.target) seeing.add(chat.target.model);
    const pictures = this.pending;
    this.pending = [];
    await this.#take(pictures);
  }

  dismiss(): void {
    this.problem = '';
    this.pending = [];
  }

  rename(place: number, name: string): void {
    chat.attach(chat.pictures.map((one, at) => (at === place ? { ...one, name } : one)));
  }

  remove(place: number): void {
    chat.attach(chat.pictures.filter((_, at) => at !== place));
  }

  async #take(files: readonly File[]): Promise<void> {
    const taken: Picture[] = [...chat.pictures];
    for (const file of files) {
      if (taken.length >= MOST_PICTURES) {
        this.problem = fill(page.t.tooManyPictures, { most: MOST_PICTURES });
        break;
      }
      const room = MOST_CHARACTERS - taken.reduce((sum, { url }) => sum + url.length, 0);
      try {
        taken.push(await readPicture(file, room));
      } catch {
        this.problem = fill(page.t.badPicture, { name: file.name });
      }
    }
    chat.attach(taken);
  }
}

export const attaching = new Attaching();
