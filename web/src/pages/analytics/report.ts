/** What the page reads: sums and latencies of a time, over it and as a whole, and what failed. */
import { api } from '../../app/console.svelte';
import { Resource } from '../../app/resource.svelte';
import { goTogether, planOf, queryOf, type Plan } from '../../core/analytics';
import { AnalyticsApi, type Chart, type Group, type Summary } from '../../core/api/analytics';
import type { Filters } from '../../core/filters';

export const analytics = new AnalyticsApi(api);

const SUMS = [
  'requests',
  'errors',
  'error_rate',
  'tokens',
  'tokens_in',
  'tokens_out',
  'cost',
  'unpriced',
  'cached',
  'cache_rate',
];
const TIMINGS = ['first_byte', 'duration'].flatMap((name) =>
  [50, 95, 99].map((percent) => `${name}_p${percent}`),
);
const TIMED = [...TIMINGS, 'first_bytes', 'durations'];
const TABLE = ['requests', 'errors', 'error_rate', 'tokens', 'cost'];

export interface Report {
  readonly plan: Plan;
  readonly sums: Summary;
  readonly chart: Chart;
  /** Null where no percentiles are kept by these filters together. */
  readonly timings: Summary | null;
  readonly latencies: Chart | null;
  /** Null where statuses are not kept by them. */
  readonly statuses: readonly Group[] | null;
}

export interface Breakdown {
  readonly plan: Plan;
  readonly by: string;
  readonly measure: string;
  readonly groups: readonly Group[];
  /** What keys are called, by their ids. */
  readonly names: ReadonlyMap<string, string>;
}

/** Where days begin. */
export function zone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/** The query of a chart. */
export function chartQuery(plan: Plan, measures: readonly string[], timed = false): URLSearchParams {
  const interval = (timed ? plan.timed : null) ?? plan.interval;
  return queryOf(plan, measures, { interval, tz: zone() });
}

export async function readReport(filters: Filters, signal: AbortSignal): Promise<Report> {
  const plan = planOf(filters, now());
  const hasStatus = goTogether([...plan.fields, 'status']);
  const failed = queryOf(plan, ['errors'], { by: 'status', top: '50', interval: plan.interval, tz: zone() });
  const [sums, chart, timings, latencies, statuses] = await Promise.all([
    analytics.summary(queryOf(plan, SUMS), signal),
    analytics.series(chartQuery(plan, SUMS), signal),
    plan.timed && analytics.summary(queryOf(plan, TIMED), signal),
    plan.timed && analytics.series(chartQuery(plan, TIMED, true), signal),
    hasStatus ? analytics.series(failed, signal) : null,
  ]);
  const failures = statuses?.groups.filter(({ total }) => (total['errors'] ?? 0) > 0) ?? null;
  return { plan, sums, chart, timings, latencies, statuses: failures };
}

export async function readBreakdown(
  filters: Filters,
  by: string,
  measure: string,
  gateway: string,
  signal: AbortSignal,
): Promise<Breakdown> {
  const plan = planOf(filters, now(), by);
  const chart = analytics.series(breakdownQuery(plan, by, measure), signal);
  // Without names, ids are shown: who may see charts need not see keys.
  const keys = by === 'key' && gateway !== '' ? analytics.keyNames(gateway, signal) : Promise.reject();
  const names = keys.catch(() => new Map<string, string>());
  return { plan, by, measure, groups: (await chart).groups, names: await names };
}

export function breakdownQuery(plan: Plan, by: string, measure: string): URLSearchParams {
  const measures = [...new Set([measure, ...TABLE])];
  return queryOf(plan, measures, { by, top: '10', interval: plan.interval, tz: zone() });
}

/** Read what a question asks. The answer to another one is not kept when a new one fails. */
export function answerTo<Value>(
  question: () => string,
  ask: (signal: AbortSignal) => Promise<Value>,
): Resource<Value> {
  let answered = '';
  const resource = new Resource<Value>(async (signal) => {
    const asked = question();
    try {
      const value = await ask(signal);
      answered = asked;
      return value;
    } catch (error) {
      if (asked !== answered && !signal.aborted) resource.value = null;
      throw error;
    }
  });
  return resource;
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}
