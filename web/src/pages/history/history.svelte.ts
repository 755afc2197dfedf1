/** The conversations that the address asks for, and what is done with them. */
import { SvelteSet } from 'svelte/reactivity';

import { announcer } from '../../app/announcer.svelte';
import { api } from '../../app/console.svelte';
import { saving } from '../../app/conversation-saving.svelte';
import { Resource } from '../../app/resource.svelte';
import { ApiFailure, type ConversationChange } from '../../core/api/console';
import { allTags, deleteOnLeaving, listed, type Listed, type ListPage } from '../../core/api/conversations';
import type { ConversationFilter } from '../../core/conversation-filter';
import { Postponed } from '../../core/postponed';
import { own } from './words';

const UNDO_SECONDS = 10;

export class History {
  readonly selected = new SvelteSet<string>();
  readonly page: Resource<ListPage>;
  readonly tags = new Resource<readonly string[]>((signal) => allTags(api, signal));
  /** What is deleted soon, if nobody takes it back. */
  condemned = $state.raw<readonly string[] | null>(null);
  /** Until it is. */
  secondsLeft = $state(0);
  /** Why the last act failed; null when it did not. */
  failure = $state.raw<ApiFailure | null>(null);

  /** What is shown: without what is about to be deleted. */
  readonly shown: readonly Listed[] = $derived.by(() =>
    (this.page.value?.listed ?? []).filter(({ conversation: { id } }) => !this.condemned?.includes(id)),
  );

  readonly #wanted: () => ConversationFilter;
  readonly #postponed = new Postponed<readonly string[]>(
    (ids) => void this.#delete(ids),
    (ids) => (this.condemned = ids),
    UNDO_SECONDS * 1000,
  );
  #ticking: ReturnType<typeof setInterval> | undefined;
  #stopped = false;

  constructor(wanted: () => ConversationFilter) {
    this.#wanted = wanted;
    this.page = new Resource((signal) => listed(api, wanted(), undefined, signal));
  }

  read(): void {
    if (this.#stopped) return; // there is no address any more that says what is wanted
    void this.page.read();
    void this.tags.read();
  }

  async more(): Promise<void> {
    const page = this.page.value;
    if (!page?.next) return;
    const before = page.next;
    await this.#act(async () => {
      const further = await listed(api, this.#wanted(), before);
      const fresh = further.listed.filter(
        ({ conversation: { id } }) => !page.listed.some(({ conversation }) => conversation.id === id),
      );
      this.page.put({ listed: [...page.listed, ...fresh], next: further.next });
    });
  }

  /** Change some; returns whether that succeeded. */
  async change(ids: readonly string[], change: ConversationChange, done = ''): Promise<boolean> {
    const succeeded = await this.#act(async () => {
      for (const id of ids) await api.keepConversation(id, change);
      if (done) announcer.say(done);
    });
    if (change.archived !== undefined) for (const id of ids) this.selected.delete(id);
    await Promise.all([this.page.read(), change.tags ? this.tags.read() : undefined]);
    return succeeded;
  }

  /** Delete some after a while. */
  condemn(ids: readonly string[]): void {
    this.#postponed.later(ids);
    for (const id of ids) this.selected.delete(id);
    this.secondsLeft = UNDO_SECONDS;
    clearInterval(this.#ticking);
    this.#ticking = setInterval(() => (this.secondsLeft = Math.max(0, this.secondsLeft - 1)), 1000);
  }

  undo(): void {
    this.#postponed.undo();
    clearInterval(this.#ticking);
    announcer.say(own.t.undone);
  }

  /** The page goes, in this document: what is about to be deleted is. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#ticking);
    this.#postponed.now();
    this.page.stop();
    this.tags.stop();
  }

  /** The document goes. Where it dies without a word, nothing is deleted. */
  leave(): void {
    const ids = this.condemned;
    this.#postponed.undo();
    if (ids) deleteOnLeaving(ids);
  }

  async #delete(ids: readonly string[]): Promise<void> {
    clearInterval(this.#ticking);
    // Out of the list before the answer comes: they do not show up again for a moment.
    const page = this.page.value;
    if (page) {
      const left = page.listed.filter(({ conversation }) => !ids.includes(conversation.id));
      this.page.put({ ...page, listed: left });
    }
    saving.onDeleted(ids);
    await this.#act(async () => {
      for (const id of ids) await saving.saver.forget(id);
      try {
        await api.deleteConversations(ids);
      } catch (error) {
        saving.saver.remember();
        throw error;
      }
    });
    this.read();
  }

  async #act(act: () => Promise<void>): Promise<boolean> {
    this.failure = null;
    try {
      await act();
      return true;
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.failure = error;
      return false;
    }
  }
}
