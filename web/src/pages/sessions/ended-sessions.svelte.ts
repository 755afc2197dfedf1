/** The sessions that have ended, as far as somebody scrolled back. */
import { api } from '../../app/console.svelte';
import { ApiFailure, type SessionSummary } from '../../core/api/console';

const PAGE = 20;
/** The gateway writes the record of a session a moment after its end. */
const WRITING_MS = 1_000;

export class EndedSessions {
  sessions = $state.raw<readonly SessionSummary[]>([]);
  /** Whether the first answer has come. */
  known = $state(false);
  /** Where older ones begin; null when there are none. */
  next = $state.raw<string | null>(null);
  failure = $state.raw<string | null>(null);

  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Read the newest ones again. Never rejects: see `failure`. */
  async refresh(): Promise<void> {
    await this.#read(async () => {
      const page = await api.endedSessions(PAGE);
      const isShown = ({ id }: SessionSummary): boolean => page.records.some((one) => one.id === id);
      // With a gap between the two, going back starts anew.
      const joins = this.sessions.some(isShown);
      this.sessions = joins
        ? [...page.records, ...this.sessions.filter((one) => !isShown(one))]
        : page.records;
      if (!joins) this.next = page.next;
    });
  }

  /** Read those that are older than all that are shown. */
  async more(): Promise<void> {
    const before = this.next;
    if (before === null) return;
    await this.#read(async () => {
      const page = await api.endedSessions(PAGE, before);
      this.sessions = [...this.sessions, ...page.records];
      this.next = page.next;
    });
  }

  /** A session has just ended: read again when its record may be there. */
  expectOneMore(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.refresh(), WRITING_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  async #read(act: () => Promise<void>): Promise<void> {
    try {
      await act();
      this.known = true;
      this.failure = null;
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.failure = error.message;
    }
  }
}
