/** Sums of the log on the console's API, below `/api/analytics`. */
import type { components } from '../../gen/api';
import { ApiFailure, type ConsoleApi } from './console';

type Schemas = components['schemas'];
export type Chart = Schemas['Chart'];
export type Group = Schemas['Group'];
export type Summary = Schemas['Summary'];

/** Every method throws `ApiFailure`. */
export class AnalyticsApi {
  constructor(private readonly api: ConsoleApi) {}

  series(query: URLSearchParams, signal?: AbortSignal): Promise<Chart> {
    return this.api.call<Chart>('GET', `/api/analytics/series?${query}`, undefined, signal);
  }

  /** A time, and the equally long one before it. */
  summary(query: URLSearchParams, signal?: AbortSignal): Promise<Summary> {
    return this.api.call<Summary>('GET', `/api/analytics/summary?${query}`, undefined, signal);
  }

  /** A chart as a table of comma-separated values. */
  async csv(query: URLSearchParams): Promise<string> {
    const asked = fetch(`/api/analytics/series?${query}`, { headers: { accept: 'text/csv' } });
    const answer = await asked.catch(() => Promise.reject(ApiFailure.unreachable()));
    if (!answer.ok) throw new ApiFailure(answer.status);
    return answer.text();
  }

  /** What a gateway's keys are called, by their ids. */
  async keyNames(gateway: string, signal?: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const path = `/api/gateways/${encodeURIComponent(gateway)}/keys`;
    const keys = await this.api.call<Schemas['KeyView'][]>('GET', path, undefined, signal);
    return new Map(keys.map(({ id, name }) => [id, name]));
  }
}
