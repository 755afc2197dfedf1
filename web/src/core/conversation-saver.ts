/**
 * Sends conversations to the server as they grow, and again until they are there. What is not there yet stays here, so
 * that nothing is lost while the server is away.
 */

import { ApiFailure, type ConversationChange } from './api/console';
import type { StoredMessage } from './stored-conversation';

/** A conversation as it is now. */
export interface Snapshot {
  readonly kind: 'text' | 'voice';
  readonly model: string;
  readonly provider: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** The last message of the branch that is shown. */
  readonly head: string;
  /** A parent before its children. */
  readonly messages: readonly StoredMessage[];
}

/**
 * - `saved`: all is on the server
 * - `saving`: something is on its way, or soon will be
 * - `waiting`: the server is away; it is tried again
 * - `refused`: the server does not take it, and says why; tried again with the next change, or by `retry`
 */
export type Saving =
  | { readonly kind: 'saved' | 'saving' | 'waiting' }
  | { readonly kind: 'refused'; readonly status: number; readonly message: string };

export interface SaverParts {
  readonly keep: (id: string, change: ConversationChange) => Promise<unknown>;
  readonly onChange: (saving: Saving) => void;
}

const SOON_MS = 300;
/** For an answer that is being written: so much of it is lost at most when the page dies. */
const LATER_MS = 4000;
const RETRY_MS = [2000, 4000, 8000, 15_000];
/** A request holds so much text at most; the server takes 8 MiB. */
const MOST_CHARACTERS = 1_000_000;

interface Known {
  look: () => Snapshot;
  isChanged: boolean;
  /** What the server has of each message, by id. */
  readonly messages: Map<string, string>;
  /** What the server has of the rest. */
  rest: string;
}

export class ConversationSaver {
  readonly #parts: SaverParts;
  readonly #known = new Map<string, Known>();
  readonly #unwanted = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueAt = Infinity;
  #failures = 0;
  #sending: Promise<void> | null = null;
  #shown = '';

  constructor(parts: SaverParts) {
    this.#parts = parts;
  }

  /** A conversation has changed, or may have. `look` is called when it is sent. `soon` is false while it goes on. */
  note(id: string, look: () => Snapshot, soon: boolean): void {
    if (this.#unwanted.has(id)) return;
    const known = this.#of(id, look);
    known.look = look;
    known.isChanged = true;
    this.#schedule(soon ? SOON_MS : LATER_MS);
    if (!this.#failures) this.#show({ kind: 'saving' });
  }

  /** This is what the server has of a conversation. */
  loaded(id: string, snapshot: Snapshot): void {
    const known = this.#of(id, () => snapshot);
    for (const message of snapshot.messages) known.messages.set(message.id, JSON.stringify(message));
    known.rest = restOf(snapshot);
  }

  /** Conversations are about to be deleted, all that are known here if none is named: send nothing of them any more. */
  async forget(id: string | null): Promise<void> {
    for (const unwanted of id === null ? this.#known.keys() : [id]) this.#unwanted.add(unwanted);
    for (const unwanted of this.#unwanted) this.#known.delete(unwanted);
    await this.#sending; // what is on its way arrives before the deletion
    this.#settle();
  }

  /** They were not deleted after all. */
  remember(): void {
    this.#unwanted.clear();
  }

  /** Try again now. */
  retry(): Promise<void> {
    return this.flush();
  }

  /** Send now what has changed. Never rejects: see `onChange`. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#dueAt = Infinity;
    await this.#sending;
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = null));
    await this.#sending;
  }

  get #changed(): [string, Known][] {
    return [...this.#known].filter(([, { isChanged }]) => isChanged);
  }

  #of(id: string, look: () => Snapshot): Known {
    let known = this.#known.get(id);
    if (!known) this.#known.set(id, (known = { look, isChanged: false, messages: new Map(), rest: '' }));
    return known;
  }

  async #sendAll(): Promise<void> {
    let refusal: ApiFailure | null = null;
    for (const [id, known] of this.#changed) {
      try {
        known.isChanged = false; // what changes from here on is sent after this
        await this.#send(id, known);
      } catch (error) {
        known.isChanged = true;
        if (!(error instanceof ApiFailure)) throw error;
        if (isForNow(error)) {
          this.#wait();
          return;
        }
        refusal = error;
      }
    }
    this.#failures = 0;
    if (refusal) this.#show({ kind: 'refused', status: refusal.status, message: refusal.message });
    else this.#settle();
  }

  async #send(id: string, known: Known): Promise<void> {
    const snapshot = known.look();
    try {
      await this.#sendMissing(id, known, snapshot);
    } catch (error) {
      const isGone = error instanceof ApiFailure && error.status === 400 && known.messages.size > 0;
      if (!isGone) throw error;
      // Deleted by another page, it would seem: what is still shown here is sent whole.
      known.messages.clear();
      known.rest = '';
      await this.#sendMissing(id, known, snapshot);
    }
  }

  async #sendMissing(id: string, known: Known, snapshot: Snapshot): Promise<void> {
    const rest = restOf(snapshot);
    const missing = snapshot.messages.filter(
      (message) => known.messages.get(message.id) !== JSON.stringify(message),
    );
    if (missing.length === 0 && rest === known.rest) return;
    const { kind, model, provider, settings, head } = snapshot;
    const portions = inPortions(missing);
    for (const [number, messages] of portions.entries()) {
      const isLast = number === portions.length - 1;
      await this.#parts.keep(id, { kind, ...(isLast ? { model, provider, settings, head } : {}), messages });
      for (const message of messages) known.messages.set(message.id, JSON.stringify(message));
    }
    known.rest = rest;
  }

  #wait(): void {
    this.#show({ kind: 'waiting' });
    this.#schedule(RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)] ?? 0);
    this.#failures += 1;
  }

  #settle(): void {
    if (this.#changed.length > 0) return;
    clearTimeout(this.#timer);
    this.#dueAt = Infinity;
    this.#failures = 0;
    this.#show({ kind: 'saved' });
  }

  /** An earlier time that is set already stands. */
  #schedule(afterMs: number): void {
    const at = Date.now() + afterMs;
    if (at >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = at;
    this.#timer = setTimeout(() => void this.flush(), afterMs);
  }

  #show(saving: Saving): void {
    const shown = JSON.stringify(saving);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#parts.onChange(saving);
  }
}

function isForNow({ isAbsence, status }: ApiFailure): boolean {
  return isAbsence || status >= 500 || status === 429;
}

function restOf({ model, provider, settings, head }: Snapshot): string {
  return JSON.stringify([model, provider, settings, head]);
}

/** At least one portion, so that what else has changed is sent as well. */
function inPortions(messages: readonly StoredMessage[]): StoredMessage[][] {
  const portions: StoredMessage[][] = [[]];
  let size = 0;
  for (const message of messages) {
    const own = message.text.length + (message.parts ? JSON.stringify(message.parts).length : 0);
    size += own;
    if (size > MOST_CHARACTERS && portions.at(-1)?.length) {
      portions.push([]);
      size = own;
    }
    portions.at(-1)?.push(message);
  }
  return portions;
}
