/** The charts of a report: their lines, and what a reader who does not see them is told. */
import { ENOUGH, extremes, whereEnough, type Curve, type Interval } from '../../core/analytics';
import type { Chart } from '../../core/api/analytics';
import { fill } from '../../i18n/index.svelte';
import type { Values } from './plot';
import { chartQuery, type Report } from './report';
import { formats, momentOf, own, type Format } from './words';

export interface Line {
  readonly name: string;
  /** The number of its token of colour. */
  readonly tone: number;
  readonly values: Values;
  /** Of the whole time. */
  readonly total: number | null;
}

export interface Drawing {
  readonly id: 'requests' | 'tokens' | 'cost' | 'cached' | 'first_byte' | 'duration';
  readonly title: string;
  readonly curve: Curve;
  readonly interval: Interval;
  readonly lines: readonly Line[];
  readonly format: Format;
  /** Counts, which are drawn as an area from nought. */
  readonly whole: boolean;
  readonly summary: string;
  /** Of the file with the same numbers. */
  readonly query: URLSearchParams;
}

export function drawingsOf({ plan, chart, latencies }: Report): readonly Drawing[] {
  const t = own.t.chart;
  const sums = (id: Drawing['id'], named: Readonly<Record<string, readonly [string, number]>>): Drawing => {
    const lines = Object.entries(named).map(([measure, [name, tone]]) => line(chart, measure, name, tone));
    const format = id === 'cost' ? formats.cost : formats.count;
    return {
      id,
      title: t[id],
      curve: chart,
      interval: plan.interval,
      lines,
      format,
      whole: id !== 'cost',
      summary: told(lines[0]!, chart, plan.interval, format, t.sum),
      query: chartQuery(plan, Object.keys(named)),
    };
  };
  const percentiles = (id: 'first_byte' | 'duration', interval: Interval, of: Chart): Drawing => {
    const counts = of.groups[0]?.points[id === 'duration' ? 'durations' : 'first_bytes'] ?? [];
    const count = counts.reduce<number>((sum, value) => sum + (value ?? 0), 0);
    const p99 = line(of, `${id}_p99`, 'p99', 5);
    const lines = [
      line(of, `${id}_p50`, 'p50', 3),
      line(of, `${id}_p95`, 'p95', 4),
      { ...p99, values: whereEnough(p99.values, counts), total: count < ENOUGH ? null : p99.total },
    ];
    const isThin = counts.some((value) => value !== null && value > 0 && value < ENOUGH);
    const summary = told(lines[1]!, of, interval, formats.time, t.percentile);
    return {
      id,
      title: t[id],
      curve: of,
      interval,
      lines,
      format: formats.time,
      whole: false,
      summary: isThin ? `${summary} ${fill(t.few, { enough: ENOUGH })}` : summary,
      query: chartQuery(
        plan,
        [50, 95, 99].map((percent) => `${id}_p${percent}`),
        true,
      ),
    };
  };
  return [
    sums('requests', { requests: [t.requestsLine, 1], errors: [t.errorsLine, 2] }),
    sums('cost', { cost: [t.costLine, 4] }),
    ...(latencies && plan.timed
      ? [percentiles('first_byte', plan.timed, latencies), percentiles('duration', plan.timed, latencies)]
      : []),
    sums('tokens', { tokens_in: [t.tokensIn, 3], tokens_out: [t.tokensOut, 5] }),
    sums('cached', { cached: [t.cachedLine, 6] }),
  ];
}

function line(chart: Chart, measure: string, name: string, tone: number): Line {
  const group = chart.groups[0];
  return { name, tone, values: group?.points[measure] ?? [], total: group?.total[measure] ?? null };
}

function told(
  { name, values, total }: Line,
  { starts }: Curve,
  interval: Interval,
  format: Format,
  words: string,
): string {
  const found = extremes(values);
  if (!found || total === 0) return own.t.chart.nothing;
  const sentence = fill(words, {
    line: name,
    when: momentOf(starts[found.highest] ?? 0, interval),
    highest: format(values[found.highest]!),
    lowest: format(values[found.lowest]!),
    last: format(values[found.last]!),
  });
  // A unit may end with a full stop of its own.
  return sentence.replaceAll('..', '.');
}
