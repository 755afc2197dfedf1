/** What the overview asks for. Every function throws `ApiFailure`. */
import type { components } from '../../gen/api';
import type { Overview, ProviderHealth } from '../overview';
import type { ConsoleApi } from './console';

type Schemas = components['schemas'];
export type LogRow = Schemas['LogRow'];
export type Summary = Schemas['Summary'];

const DAY = 86_400;
const FEW = 5;

export function overview(api: ConsoleApi, signal: AbortSignal): Promise<Overview> {
  return api.call<Overview>('GET', '/api/overview', undefined, signal);
}

export async function providersHealth(
  api: ConsoleApi,
  signal: AbortSignal,
): Promise<readonly ProviderHealth[]> {
  const path = '/api/health/providers';
  return (await api.call<Schemas['ProviderHealthList']>('GET', path, undefined, signal)).providers;
}

/** The last day, and the one before it. */
export function lastDay(api: ConsoleApi, signal: AbortSignal): Promise<Summary> {
  const measures = ['requests', 'error_rate', 'cost', 'first_byte_p95'].map((name) => ['measure', name]);
  return api.call<Summary>(
    'GET',
    `/api/analytics/summary?${new URLSearchParams(measures)}`,
    undefined,
    signal,
  );
}

/** The last exchanges that failed within a day. */
export async function lastErrors(api: ConsoleApi, signal: AbortSignal): Promise<readonly LogRow[]> {
  const query = new URLSearchParams({
    success: 'false',
    limit: String(FEW),
    since: String(Math.floor(Date.now() / 1000) - DAY),
  });
  return (await api.call<Schemas['LogPage']>('GET', `/api/logs?${query}`, undefined, signal)).logs;
}
