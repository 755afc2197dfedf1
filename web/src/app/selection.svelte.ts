/** The provider and the models chosen in this browser. A choice is kept by the gateway with the rest of the session. */
import { ApiFailure, type ProviderView, type SessionChange } from '../core/api/console';
import { app } from './console.svelte';

// The slug of the embedded provider, and the name of its only model.
const LOCAL = 'local';

class Selection {
  /** Why the last choice could not be kept; empty when it was. */
  problem = $state('');

  readonly #chatModels = new Map<string, string>();
  readonly #realtimeModels = new Map<string, string>();

  get chatProviders(): readonly ProviderView[] {
    return app.providers.filter((provider) => provider.chat_path !== null);
  }

  /** The chosen provider, or the local one where the chosen one has no chat. */
  get chatProvider(): ProviderView | undefined {
    return app.provider?.chat_path ? app.provider : app.find(LOCAL);
  }

  /** Empty where none is chosen. */
  get chatModel(): string {
    if (this.chatProvider?.slug === LOCAL) return LOCAL;
    return app.session?.model ?? '';
  }

  /** Empty where none is chosen. */
  get realtimeModel(): string {
    return app.provider?.slug === LOCAL ? LOCAL : (app.session?.realtime_model ?? '');
  }

  /** Change the provider; its models are those chosen for it before. */
  chooseProvider(slug: string): Promise<void> {
    if (app.session) {
      this.#chatModels.set(app.session.provider, app.session.model);
      this.#realtimeModels.set(app.session.provider, app.session.realtime_model);
    }
    return this.#change({
      provider: slug,
      model: this.#chatModels.get(slug) ?? (slug === LOCAL ? LOCAL : ''),
      realtime_model: this.#realtimeModels.get(slug) ?? (slug === LOCAL ? LOCAL : ''),
    });
  }

  chooseChatModel(model: string): Promise<void> {
    return this.#change({ model });
  }

  chooseRealtimeModel(model: string): Promise<void> {
    return this.#change({ realtime_model: model });
  }

  async #change(change: SessionChange): Promise<void> {
    try {
      await app.change(change);
      this.problem = '';
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.problem = error.message;
    }
  }
}

export const selection = new Selection();
