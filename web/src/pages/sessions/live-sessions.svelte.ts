/** The open sessions as the gateway tells of them while somebody looks. */
import { api } from '../../app/console.svelte';
import { ApiFailure, type OpenSession } from '../../core/api/console';
import { hasEnded, pauseAfter } from '../../core/sessions';

export type Watching =
  { readonly kind: 'connecting' | 'live' | 'away' } | { readonly kind: 'refused'; readonly message: string };

export class LiveSessions {
  watching = $state.raw<Watching>({ kind: 'connecting' });
  sessions = $state.raw<readonly OpenSession[]>([]);
  /** When `sessions` were told, on the clock of `performance.now()`. */
  toldAt = $state.raw(0);

  readonly #abort = new AbortController();

  /** `onended` is called after one that was open is open no more. */
  constructor(private readonly onended: () => void) {}

  /** Watch, and ask again whenever the stream breaks off, until `stop`. Never rejects: see `watching`. */
  async start(): Promise<void> {
    const { signal } = this.#abort;
    let failures = 0;
    while (!signal.aborted) {
      try {
        for await (const sessions of api.openSessions(signal)) {
          failures = 0;
          this.#take(sessions);
        }
        this.watching = { kind: 'away' }; // the gateway is about to stop
      } catch (error) {
        if (signal.aborted) return;
        this.watching = watchingAfter(error);
      }
      failures += 1;
      await pause(pauseAfter(failures), signal);
    }
  }

  stop(): void {
    this.#abort.abort();
  }

  #take(sessions: readonly OpenSession[]): void {
    const ended = hasEnded(this.sessions, sessions);
    this.sessions = sessions;
    this.toldAt = performance.now();
    this.watching = { kind: 'live' };
    if (ended) this.onended();
  }
}

function watchingAfter(error: unknown): Watching {
  if (error instanceof ApiFailure && !error.isAbsence) return { kind: 'refused', message: error.message };
  return { kind: 'away' };
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
