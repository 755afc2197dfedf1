/** The log on the console's API, below `/api/logs`. */

import type { components } from '../../gen/api';
import type { ConsoleApi } from './console';

type Schemas = components['schemas'];
/** Metadata and usage come with any names. */
export type LogRow = Omit<Schemas['LogRow'], 'metadata' | 'usage' | 'findings'> & {
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
  readonly usage: Readonly<Record<string, unknown>>;
  readonly findings: readonly Readonly<Record<string, unknown>>[];
};
export type LogBodies = Schemas['Bodies'];
export interface LogPage {
  readonly logs: readonly LogRow[];
  /** Where older ones begin; null at the end. */
  readonly next: string | null;
}
/** What is absent stays; null takes it back. */
export interface LogChange {
  readonly feedback?: number | null;
  readonly score?: number | null;
}

/** Every method throws `ApiFailure`. */
export class LogsApi {
  constructor(private readonly api: ConsoleApi) {}

  list(query: URLSearchParams, signal?: AbortSignal): Promise<LogPage> {
    return this.api.call<LogPage>('GET', `/api/logs?${query}`, undefined, signal);
  }

  show(id: string, signal?: AbortSignal): Promise<LogRow> {
    return this.api.call<LogRow>('GET', below(id), undefined, signal);
  }

  bodies(id: string, signal?: AbortSignal): Promise<LogBodies> {
    return this.api.call<LogBodies>('GET', `${below(id)}/payload`, undefined, signal);
  }

  change(id: string, change: LogChange): Promise<LogRow> {
    return this.api.call<LogRow>('PATCH', below(id), change);
  }
}

function below(id: string): string {
  return `/api/logs/${encodeURIComponent(id)}`;
}
