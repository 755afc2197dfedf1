/** Something of the gateway's that a page shows: read when the page comes, read again, and kept while that fails. */
import { ApiFailure } from '../core/api/console';

/** A skeleton that is shown for less than this only flickers. */
const PATIENCE_MS = 200;

/**
 * What was last read, and how reading goes. A later `read` ends an earlier one, so what is shown is always the answer
 * to the last question.
 */
export class Resource<Value> {
  /** Null until the first answer. After that it stays, even when reading it again fails. */
  value = $state.raw<Value | null>(null);
  /** Why the last reading failed; null when it did not. */
  failure = $state.raw<ApiFailure | null>(null);
  /** When the value was read, in milliseconds of Unix time. */
  readAt = $state(0);
  reading = $state(false);
  /** Reading for the first time takes so long that somebody should be told. */
  slow = $state(false);

  readonly #ask: (signal: AbortSignal) => Promise<Value>;
  #running: AbortController | null = null;

  constructor(ask: (signal: AbortSignal) => Promise<Value>) {
    this.#ask = ask;
  }

  /** What is shown is older than what was asked for. */
  get stale(): boolean {
    return this.value !== null && this.failure !== null;
  }

  /** Ask, or ask again. Never rejects: see `failure`. */
  async read(): Promise<void> {
    this.#running?.abort();
    const running = (this.#running = new AbortController());
    this.reading = true;
    const patience = setTimeout(() => (this.slow = this.value === null), PATIENCE_MS);
    try {
      const value = await this.#ask(running.signal);
      if (this.#running !== running) return;
      this.put(value);
    } catch (error) {
      if (this.#running !== running) return;
      if (!(error instanceof ApiFailure)) throw error;
      this.failure = error;
    } finally {
      clearTimeout(patience);
      if (this.#running === running) {
        this.reading = false;
        this.slow = false;
      }
    }
  }

  /** Show what is known without asking, such as the answer to a change. */
  put(value: Value): void {
    this.value = value;
    this.failure = null;
    this.readAt = Date.now();
  }

  /** The page goes: whatever is on its way is not waited for. */
  stop(): void {
    this.#running?.abort();
    this.#running = null;
  }
}
