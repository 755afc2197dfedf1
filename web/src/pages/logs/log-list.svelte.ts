/** The rows on the page: a page of the list, older ones on request, and new ones as the gateway tells of them. */
import { api } from '../../app/console.svelte';
import { Resource } from '../../app/resource.svelte';
import { ApiFailure } from '../../core/api/console';
import { LogsApi, type LogPage, type LogRow } from '../../core/api/logs';
import type { Filters } from '../../core/filters';
import { merged, MOST_ROWS, queryOf, rowsOf } from '../../core/logs';

const PAGE = 100;
const PAINT_MS = 100;
/** The rate is that of the last so many seconds. */
const RATE_SECONDS = 10;
const CLOSED_RETRY_MS = 15_000;

export type Line = 'off' | 'connecting' | 'live' | 'away' | 'refused';

export const logsApi = new LogsApi(api);

export class LogList {
  readonly page = new Resource<LogPage>((signal) => this.#read(signal));
  /** Held by the user; rows that come wait. */
  paused = $state(false);
  selecting = $state(false);
  line = $state<Line>('off');
  /** Rows a second, as they came of late. */
  rate = $state(0);
  /** How many wait to be shown. */
  waiting = $state(0);
  /** Older rows have taken the place of the newest. */
  isBack = $state(false);

  #filters: Filters | null = null;
  #before: string | null = null;
  #source: EventSource | null = null;
  #came: LogRow[] = [];
  #paint: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #arrivals: { readonly at: number; readonly count: number }[] = [];

  /** Show what some filters ask for, and go on with what comes. */
  ask(filters: Filters): void {
    this.#filters = filters;
    this.newest();
  }

  /** Read the newest ones. */
  newest(): void {
    this.#before = null;
    this.isBack = false;
    this.#came = [];
    this.waiting = 0;
    void this.page.read();
    this.#follow();
  }

  /** Read those before all that are shown; beyond what a page holds they take its place. Never rejects. */
  async older(): Promise<void> {
    const { value } = this.page;
    if (!value?.next) return;
    if (value.logs.length + PAGE > MOST_ROWS) {
      this.#before = value.next;
      this.isBack = true;
      this.#stopFollowing();
      await this.page.read();
      return;
    }
    try {
      const more = await logsApi.list(this.#query(value.next));
      const shown = this.page.value?.logs ?? [];
      this.page.put({ logs: merged(shown, more.logs), next: more.next });
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.page.failure = error;
    }
  }

  /** A row was changed here. */
  replace(row: LogRow): void {
    const { value } = this.page;
    if (value) this.page.put({ ...value, logs: value.logs.map((one) => (one.id === row.id ? row : one)) });
  }

  stop(): void {
    this.#stopFollowing();
    this.page.stop();
  }

  /** Show what waits, unless that is to wait longer. */
  show(): void {
    clearTimeout(this.#paint);
    this.#paint = undefined;
    this.#measure();
    const { value } = this.page;
    if (this.paused || this.selecting || value === null || this.#came.length === 0) return;
    const all = merged(value.logs, this.#came, Infinity);
    const logs = all.slice(0, MOST_ROWS);
    this.#came = [];
    this.waiting = 0;
    this.page.put({ logs, next: all.length > MOST_ROWS ? (logs.at(-1)?.id ?? null) : value.next });
  }

  async #read(signal: AbortSignal): Promise<LogPage> {
    const page = await logsApi.list(this.#query(this.#before), signal);
    // What came while this was on its way is newer than the answer.
    return this.isBack ? page : { ...page, logs: merged(page.logs, this.#came.splice(0)) };
  }

  #query(before: string | null): URLSearchParams {
    const query = this.#filters ? queryOf(this.#filters, Date.now() / 1000) : new URLSearchParams();
    query.set('limit', String(PAGE));
    if (before !== null) query.set('before', before);
    return query;
  }

  #follow(): void {
    this.#stopFollowing();
    if (!this.#filters?.time.range) return;
    const source = new EventSource(`/api/logs/tail?${queryOf(this.#filters)}`);
    let wasAway = false;
    this.#source = source;
    this.line = 'connecting';
    source.onopen = () => {
      // Before the first row there is nothing by which the gateway knows what this page has missed.
      if (wasAway) void this.page.read();
      wasAway = false;
      this.line = 'live';
    };
    source.onerror = () => {
      wasAway = true;
      this.line = 'away';
      // After a refusal the browser does not try again by itself; the list says what the gateway says.
      if (source.readyState !== EventSource.CLOSED) return;
      void this.page.read();
      this.#retry = setTimeout(() => this.#follow(), CLOSED_RETRY_MS);
    };
    source.addEventListener('rows', ({ data }: MessageEvent<string>) => this.#take(rowsOf(data)));
    source.addEventListener('gap', () => void this.page.read());
    source.addEventListener('refused', () => {
      this.#stopFollowing();
      this.line = 'refused';
    });
  }

  #stopFollowing(): void {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#paint);
    clearTimeout(this.#retry);
    this.#paint = undefined;
    this.#arrivals = [];
    this.rate = 0;
    this.line = 'off';
  }

  #take(rows: readonly LogRow[]): void {
    const known = [...(this.page.value?.logs ?? []), ...this.#came].map(({ id }) => id);
    const fresh = rows.filter(({ id }) => !known.includes(id));
    if (fresh.length === 0) return;
    this.#came = [...merged(this.#came, fresh)];
    this.waiting = this.#came.length;
    this.#arrivals.push({ at: performance.now(), count: fresh.length });
    this.#paint ??= setTimeout(() => this.show(), PAINT_MS);
  }

  /** Count again how much came of late. */
  #measure(): void {
    const since = performance.now() - RATE_SECONDS * 1000;
    this.#arrivals = this.#arrivals.filter(({ at }) => at >= since);
    this.rate = this.#arrivals.reduce((sum, { count }) => sum + count, 0) / RATE_SECONDS;
  }

  /** Called now and then, since nothing that comes is news too. */
  tick(): void {
    this.#measure();
  }
}
