/** Which audio of the assistant has come, which of it was cut off, and where. Pure bookkeeping. */

import type { Flushed } from '../audio/playback-queue';

interface Received {
  readonly itemId: string;
  readonly contentIndex: number;
  receivedMs: number;
  /** No more audio of it will come. */
  complete: boolean;
}

export interface AudioPart {
  readonly itemId: string;
  readonly contentIndex: number;
  readonly responseId: string;
  readonly audioMs: number;
}

/** What the server has to forget of an item, since nobody has heard it. */
export interface Truncation {
  readonly itemId: string;
  readonly contentIndex: number;
  readonly audioEndMs: number;
}

/** What was under way when the user broke in. */
export interface Cut {
  readonly items: readonly Readonly<Received>[];
  readonly responseId: string | null;
}

export class Replies {
  #active: string | null = null;
  /** Items whose audio has not been played to the end, in the order of their playing. */
  #unplayed: Received[] = [];
  readonly #deadItems = new Set<string>();
  readonly #deadResponses = new Set<string>();

  /** The response that is being made, or null. */
  get active(): string | null {
    return this.#active;
  }

  get isUnderWay(): boolean {
    return this.#active !== null || this.#unplayed.length > 0;
  }

  responseCreated(responseId: string): void {
    this.#active = responseId;
  }

  responseDone(responseId: string): void {
    if (this.#active === responseId) this.#active = null;
  }

  /** Whether this audio is to be played: what belongs to an interrupted item or response comes too late. */
  accept({ itemId, contentIndex, responseId, audioMs }: AudioPart): boolean {
    if (this.#deadItems.has(itemId) || this.#deadResponses.has(responseId)) return false;
    const known = this.#unplayed.find((item) => item.itemId === itemId);
    if (known) known.receivedMs += audioMs;
    else this.#unplayed.push({ itemId, contentIndex, receivedMs: audioMs, complete: false });
    return true;
  }

  complete(itemId: string): void {
    const item = this.#unplayed.find((known) => known.itemId === itemId);
    if (item) item.complete = true;
  }

  /** An item is heard, so those before it have been. */
  started(itemId: string): void {
    const index = this.#unplayed.findIndex((item) => item.itemId === itemId);
    if (index > 0) this.#unplayed = this.#unplayed.slice(index);
  }

  played(itemId: string): void {
    const index = this.#unplayed.findIndex((item) => item.itemId === itemId);
    if (index >= 0) this.#unplayed = this.#unplayed.slice(index + 1);
  }

  /** Let nothing of what is under way be heard any more. */
  cut(): Cut {
    const cut = { items: this.#unplayed, responseId: this.#active };
    for (const { itemId } of cut.items) this.#deadItems.add(itemId);
    if (cut.responseId !== null) this.#deadResponses.add(cut.responseId);
    this.#unplayed = [];
    return cut;
  }
}

/** Never more than was received: a server answers that with an error. */
export function truncationsOf(cut: Cut, flushed: Flushed): Truncation[] {
  return cut.items.flatMap(({ itemId, contentIndex, receivedMs, complete }) => {
    const isCurrent = itemId === flushed.item;
    if (isCurrent && complete && flushed.droppedMs === 0) return []; // it was heard to the end
    const heardMs = isCurrent ? Math.min(flushed.playedMs, receivedMs) : 0;
    return [{ itemId, contentIndex, audioEndMs: Math.floor(heardMs) }];
  });
}
