/** Every provider of the gateway, with what is known of its key. */
import { announcer } from '../../app/announcer.svelte';
import { api, app } from '../../app/console.svelte';
import { ApiFailure } from '../../core/api/console';
import {
  ProvidersApi,
  type CustomChange,
  type CustomProvider,
  type NewCustom,
  type ProviderEntry,
  type StoredKey,
} from '../../core/api/providers';
import { fill } from '../../i18n/index.svelte';
import { own } from './words';

export class Providers {
  all = $state.raw<readonly ProviderEntry[]>([]);
  /** Those that were added, by the slug of the entry. */
  custom = $state.raw<Readonly<Record<string, CustomProvider>>>({});
  storedKeys = $state.raw<readonly StoredKey[]>([]);
  /** Whether the first answer has come. */
  known = $state(false);
  /** Why they could not be read; empty when they were. */
  failure = $state('');

  readonly #api = new ProvidersApi(api);

  /** Read them again. Never rejects: see `failure`. */
  async refresh(): Promise<void> {
    try {
      const [all, custom, storedKeys] = await Promise.all([
        this.#api.all(),
        this.#api.custom(),
        this.#storedKeys(),
      ]);
      // What people added is what they come back to.
      this.all = [...all.filter(isAdded), ...all.filter((entry) => !isAdded(entry))];
      this.custom = Object.fromEntries(custom.map((one) => [`custom-${one.slug}`, one]));
      this.storedKeys = storedKeys;
      this.failure = '';
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.failure = error.message;
    }
    this.known = true;
  }

  /** Throws `ApiFailure`. */
  async add(wanted: NewCustom): Promise<void> {
    const { name } = await this.#api.add(wanted);
    await this.#changed(fill(own.t.form.added, { name }));
  }

  /** Throws `ApiFailure`. */
  async change(slug: string, change: CustomChange): Promise<void> {
    const { name } = await this.#api.change(slug, change);
    await this.#changed(fill(own.t.form.saved, { name }));
  }

  /** Throws `ApiFailure`. */
  async turn(slug: string, enabled: boolean): Promise<void> {
    const { name } = await this.#api.change(slug, { enabled });
    await this.#changed(fill(enabled ? own.t.turnedOn : own.t.turnedOff, { name }));
  }

  /** Throws `ApiFailure`. */
  async remove({ slug, name }: CustomProvider): Promise<void> {
    await this.#api.remove(slug);
    await this.#changed(fill(own.t.confirm.removed, { name }));
  }

  /** The gateway that this browser has chosen may have no set-up of its own: then it holds no key. */
  async #storedKeys(): Promise<readonly StoredKey[]> {
    try {
      return await this.#api.storedKeys(app.gateway);
    } catch (error) {
      if (error instanceof ApiFailure && error.status === 404) return [];
      throw error;
    }
  }

  async #changed(words: string): Promise<void> {
    announcer.say(words);
    // Other pages offer it too, or no longer do.
    await Promise.all([this.refresh(), app.refresh()]);
  }
}

function isAdded({ source }: ProviderEntry): boolean {
  return source === 'added';
}
