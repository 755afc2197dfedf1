/** The conversations that are kept on the gateway, as far as somebody scrolled, or what a search found among them. */
import { announcer } from '../../app/announcer.svelte';
import { api } from '../../app/console.svelte';
import { router } from '../../app/router.svelte';
import { saving } from '../../app/conversation-saving.svelte';
import { ApiFailure, type ConversationSummary, type SearchHit } from '../../core/api/console';
import { chat } from './chat.svelte';
import { own } from './words';

const PAGE = 30;
const TYPING_MS = 200;

class Library {
  conversations = $state.raw<readonly ConversationSummary[]>([]);
  /** What a search found; null while none is made. */
  hits = $state.raw<readonly SearchHit[] | null>(null);
  query = $state('');
  /** Whether the first answer has come. */
  known = $state(false);
  /** Where the list goes on; null at its end. */
  next = $state.raw<string | null>(null);
  /** Why the last act failed; empty when it did not. */
  problem = $state('');

  #typing: ReturnType<typeof setTimeout> | undefined;
  #searching = new AbortController();

  /** Read the list from its beginning. Never rejects: see `problem`. */
  refresh(): Promise<void> {
    return this.#act(async () => {
      const page = await api.conversations(Math.max(PAGE, Math.min(this.conversations.length, 200)));
      this.conversations = page.conversations;
      this.next = page.next;
      this.known = true;
    });
  }

  more(): Promise<void> {
    const before = this.next;
    if (before === null) return Promise.resolve();
    return this.#act(async () => {
      const page = await api.conversations(PAGE, before);
      const known = new Set(this.conversations.map(({ id }) => id));
      this.conversations = [...this.conversations, ...page.conversations.filter(({ id }) => !known.has(id))];
      this.next = page.next;
    });
  }

  /** Search when the typing pauses; nothing typed shows the list again. */
  search(query: string): void {
    this.query = query;
    clearTimeout(this.#typing);
    this.#searching.abort();
    if (query.trim() === '') this.hits = null;
    else this.#typing = setTimeout(() => void this.#search(query), TYPING_MS);
  }

  async rename(id: string, title: string): Promise<void> {
    await this.#act(() => api.keepConversation(id, { title }));
    await this.refresh();
  }

  async pin(id: string, pinned: boolean): Promise<void> {
    await this.#act(() => api.keepConversation(id, { pinned }));
    await this.refresh();
  }

  /** Delete one, or all. The one that is shown leaves the page as well. */
  async delete(id: string | null): Promise<void> {
    await this.#act(async () => {
      if (id === null || id === chat.id) chat.stop();
      await saving.saver.forget(id);
      try {
        await api.deleteConversations(id === null ? 'all' : [id]);
      } catch (error) {
        saving.saver.remember();
        throw error;
      }
      if (id === null || id === chat.id) {
        chat.drop();
        router.go('/chat', true);
      }
      this.hits = this.hits?.filter(({ conversation }) => id !== null && conversation.id !== id) ?? null;
      announcer.say(own.t.deleted);
    });
    await this.refresh();
  }

  async #search(query: string): Promise<void> {
    this.#searching = new AbortController();
    const { signal } = this.#searching;
    try {
      const hits = await api.searchConversations(query, signal);
      if (!signal.aborted) this.hits = hits;
      this.problem = '';
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiFailure)) throw error;
      this.problem = error.message;
    }
  }

  async #act(act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
      this.problem = '';
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.problem = error.message;
    }
  }
}

export const library = new Library();
