import { describe, expect, it } from 'vitest';

import {
  brushed,
  changeOf,
  extremes,
  filterOf,
  goTogether,
  planOf,
  pointBounds,
  queryOf,
  rowsOf,
  whereEnough,
} from './analytics';
import { parseWords, wordsOf, type Filters, type TimeWish } from './filters';

const NOW = 1_795_000_123;
const DAY = 86_400;

function filters(typed: string, time: TimeWish = { range: '24h' }): Filters {
  return { time, ...parseWords(typed) };
}

describe('a plan', () => {
  it('shows each range in points that suit it, beginning with a whole one', () => {
    const intervals = (['15m', '1h', '6h', '24h', '7d', '30d', '90d'] as const).map(
      (range) => planOf(filters('', { range }), NOW).interval,
    );
    expect(intervals).toEqual(['minute', 'minute', '5m', 'hour', 'hour', 'day', 'day']);
    const hour = planOf(filters('', { range: '1h' }), NOW);
    expect(hour.since % 60).toBe(0);
    expect(NOW - 3_600 - hour.since).toBeLessThan(60);
    expect(hour.since).toBeLessThanOrEqual(NOW - 3_600);
    const month = new Date(planOf(filters('', { range: '30d' }), NOW).since * 1000);
    expect([month.getHours(), month.getMinutes(), month.getSeconds()]).toEqual([0, 0, 0]);
    const years = planOf(filters('', { range: null, since: NOW - 900 * DAY, until: NOW }), NOW);
    expect(new Date(years.since * 1000).getDate()).toBe(1);
    const weeks = planOf(filters('', { range: null, since: NOW - 300 * DAY, until: NOW }), NOW);
    expect([weeks.interval, new Date(weeks.since * 1000).getDay()]).toEqual(['week', 1]);
  });

  it('asks for no minutes of days of which only hours are kept', () => {
    const old = (days: number) =>
      planOf(filters('', { range: null, since: NOW - days * DAY, until: NOW - days * DAY + 3_600 }), NOW);
    expect(old(2).interval).toBe('minute');
    expect(old(10).interval).toBe('hour');
    expect(old(500).interval).toBe('day');
  });

  it('knows which fields are kept together, and in which steps', () => {
    expect(planOf(filters('user:ann'), NOW)).toMatchObject({ interval: 'hour', timed: 'day' });
    expect(planOf(filters('user:ann', { range: '1h' }), NOW)).toMatchObject({ interval: 'hour' });
    expect(planOf(filters('user:ann model:m'), NOW)).toMatchObject({ interval: 'day', timed: null });
    expect(planOf(filters('key:k status:404 gateway:g'), NOW)).toMatchObject({ timed: 'hour', ignored: [] });
    expect(goTogether(['user', 'key'])).toBe(false);
    expect(goTogether(['metadata:team', 'metadata.plan'])).toBe(false);
    expect(goTogether(['metadata:team', 'model', ''])).toBe(true);
  });

  it('says which words it leaves out: comparisons, other fields, text, and what is not kept together', () => {
    const plan = planOf(filters('model:a,b tokens:>=400 kind:chat hello world'), NOW);
    expect(plan.narrowing).toEqual([
      ['model', 'a'],
      ['model', 'b'],
    ]);
    expect(plan.ignored).toEqual(['tokens:>=400', 'kind:chat', 'hello world']);
    const last = planOf(filters('user:ann key:k'), NOW);
    expect([last.fields, last.ignored]).toEqual([['key'], ['user:ann']]);
    expect(planOf(filters('model:a model:b'), NOW).ignored).toEqual(['model:a']);
    expect(planOf(filters('status:4'), NOW).ignored).toEqual(['status:4']);
    expect(planOf(filters('status:!=200,429'), NOW).ignored).toEqual(['status:!=200,429']);
    expect(planOf(filters('user:ann'), NOW, 'key').ignored).toEqual(['user:ann']);
  });

  it('compares a status', () => {
    expect(planOf(filters('status:>=400'), NOW).narrowing).toEqual([['status', '>=400']]);
    expect(planOf(filters('status:!=200'), NOW).narrowing).toEqual([['status', '!=200']]);
    expect(planOf(filters('status:200,429'), NOW).narrowing).toEqual([
      ['status', '200'],
      ['status', '429'],
    ]);
  });

  it('becomes a query', () => {
    const plan = planOf(
      filters('metadata.team:"support desk"', { range: null, since: 3_600, until: 7_200 }),
      8_000,
    );
    expect(queryOf(plan, ['cost', 'requests'], { by: 'model' }).toString()).toBe(
      'since=3600&until=7200&by=model&measure=cost&measure=requests&metadata=team%3Asupport+desk',
    );
  });
});

describe('a group', () => {
  it('is a filter, in place of another of the same field', () => {
    const narrowed = filterOf(filters('model:a user:ann'), 'model', 'b');
    expect(narrowed && wordsOf(narrowed)).toBe('user:ann model:b');
    expect(wordsOf(filterOf(filters(''), 'metadata:team', 'red one')!)).toBe('metadata.team:"red one"');
  });

  it('is none where words cannot say it', () => {
    expect(filterOf(filters(''), 'model', null)).toBeNull();
    expect(filterOf(filters(''), 'model', '')).toBeNull();
    expect(filterOf(filters(''), 'model', 'with "quotes"')).toBeNull();
    expect(filterOf(filters(''), 'metadata:a b', 'x')).toBeNull();
  });
});

describe('a brush', () => {
  const curve = { starts: [0, 60, 120, 180], until: 240 };

  it('takes whole points, whichever way it was drawn and beyond the ends', () => {
    expect(brushed(curve, 1, 2)).toEqual({ since: 60, until: 180 });
    expect(brushed(curve, 2, 1)).toEqual({ since: 60, until: 180 });
    expect(brushed(curve, 0.6, 1.4)).toEqual({ since: 60, until: 120 });
    expect(brushed(curve, -3, 99)).toEqual({ since: 0, until: 240 });
    expect(brushed({ starts: [], until: 0 }, 0, 1)).toBeNull();
  });

  it('ends a point where the next begins, and the last where the chart does', () => {
    expect(pointBounds(curve, 0)).toEqual({ since: 0, until: 60 });
    expect(pointBounds(curve, 3)).toEqual({ since: 180, until: 240 });
  });
});

describe('numbers', () => {
  it('change by a part of what they were', () => {
    expect(changeOf(150, 100)).toEqual({ kind: 'up', part: 0.5 });
    expect(changeOf(25, 100)).toEqual({ kind: 'down', part: 0.75 });
    expect(changeOf(5, 0)).toEqual({ kind: 'new' });
    expect(changeOf(0, 0)).toEqual({ kind: 'none' });
    expect(changeOf(1001, 1000)).toEqual({ kind: 'none' });
    expect(changeOf(null, 3)).toEqual({ kind: 'unknown' });
    expect(changeOf(3, undefined)).toEqual({ kind: 'unknown' });
  });

  it('have a highest, a lowest and a last one', () => {
    expect(extremes([null, 3, 9, 1, null])).toEqual({ highest: 2, lowest: 3, last: 3 });
    expect(extremes([null, null])).toBeNull();
  });

  it('are left out where too few exchanges stand behind them', () => {
    expect(whereEnough([10, 20, null, 40], [19, 20, 50, null])).toEqual([null, 20, null, null]);
  });

  it('make a table, newest first', () => {
    expect(
      rowsOf({ starts: [0, 60], until: 120 }, [
        [1, 2],
        [null, 4],
      ]),
    ).toEqual([
      { start: 60, values: [2, 4] },
      { start: 0, values: [1, null] },
    ]);
  });
});
