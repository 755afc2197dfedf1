/** The models of each provider, asked for when first needed. */
import { untrack } from 'svelte';
import { SvelteMap } from 'svelte/reactivity';

import type { ProviderView } from '../core/api/console';
import { ChatFailure, listModels } from '../core/chat';
import { app } from './console.svelte';

export type ModelList =
  | { readonly state: 'loading' }
  | { readonly state: 'known'; readonly ids: readonly string[] }
  | { readonly state: 'failed'; readonly message: string };

const PATIENCE_MS = 20_000;

class Models {
  readonly #lists = new SvelteMap<string, ModelList>();

  /** What is known now; undefined where nobody has asked. */
  of(provider: ProviderView): ModelList | undefined {
    return this.#lists.get(sourceOf(provider));
  }

  /** Ask a provider for its models, unless it was asked with the same key before and answered. */
  async load(provider: ProviderView): Promise<void> {
    const source = sourceOf(provider);
    const path = app.modelsPath(provider);
    // Untracked: an effect that asks would otherwise ask again at once, and for ever, when the answer is a refusal.
    const known = untrack(() => this.#lists.get(source));
    if (path === null || known?.state === 'loading' || known?.state === 'known') return;
    this.#lists.set(source, { state: 'loading' });
    this.#lists.set(source, await this.#ask(path));
  }

  async #ask(path: string): Promise<ModelList> {
    try {
      const ids = await listModels(path, AbortSignal.timeout(PATIENCE_MS));
      return { state: 'known', ids: ids.toSorted((one, other) => one.localeCompare(other)) };
    } catch (error) {
      if (error instanceof ChatFailure) return { state: 'failed', message: error.message };
      throw error;
    }
  }
}

/** Another key, another token or another gateway may show other models. */
function sourceOf({ slug, key }: ProviderView): string {
  const token = app.session?.use_authenticated_gateway ? app.session.gateway_token.tail : null;
  return [app.account, app.gateway, slug, key.source, key.tail, token].join('\n');
}

export const models = new Models();
