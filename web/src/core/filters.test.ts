import { describe, expect, it } from 'vitest';

import { boundsOf, filtersOf, narrowed, parseWords, withFilters, wordsOf } from './filters';

describe('parseWords', () => {
  it('tells conditions from text', () => {
    expect(parseWords('model:gpt-4o,o3 timed  status:>=400 out')).toEqual({
      conditions: [
        { field: 'model', comparison: '=', values: ['gpt-4o', 'o3'] },
        { field: 'status', comparison: '>=', values: ['400'] },
      ],
      text: 'timed out',
    });
  });

  it('keeps together what is in quotes, and takes a name of metadata', () => {
    expect(parseWords('metadata.team:"support desk" user:!=eve "two words"')).toEqual({
      conditions: [
        { field: 'metadata.team', comparison: '=', values: ['support desk'] },
        { field: 'user', comparison: '!=', values: ['eve'] },
      ],
      text: 'two words',
    });
  });

  it.each(['http://a.example', 'colour:red', 'model:', 'metadata.:x'])('takes %s for text', (typed) => {
    expect(parseWords(typed)).toEqual({ conditions: [], text: typed });
  });

  it.each([
    'model:a,b status:>=400 lost',
    'metadata.team:"support desk" user:!=eve',
    'model:"a:b" text',
    'ttft:>500',
  ])('reads back what it writes: %s', (typed) => {
    expect(wordsOf(parseWords(typed))).toBe(typed);
  });
});

describe('the query of an address', () => {
  it('holds filters beside whatever else is there', () => {
    const filters = filtersOf(new URLSearchParams('range=7d&q=model:a'), '1h');
    expect(filters).toEqual({
      time: { range: '7d' },
      conditions: [{ field: 'model', comparison: '=', values: ['a'] }],
      text: '',
    });
    const query = withFilters(new URLSearchParams('columns=cost&since=1&until=2'), filters);
    expect(Object.fromEntries(query)).toEqual({ columns: 'cost', range: '7d', q: 'model:a' });
  });

  it.each(['', 'range=100y', 'since=5&until=4', 'since=a&until=b'])('is the usual time for %s', (query) => {
    expect(filtersOf(new URLSearchParams(query), '24h').time).toEqual({ range: '24h' });
  });

  it('takes a time between two moments', () => {
    const { time } = filtersOf(new URLSearchParams('since=100&until=200'), '1h');
    expect(boundsOf(time, 5_000)).toMatchObject({ since: 100, until: 200 });
    expect(boundsOf({ range: '15m' }, 5_000)).toEqual({ since: 4_100, until: 5_000 });
  });
});

it('narrows to one value of a field in place of others', () => {
  const filters = filtersOf(new URLSearchParams('q=model:a user:eve'), '1h');
  expect(wordsOf(narrowed(filters, 'model', 'b c'))).toBe('user:eve model:"b c"');
});
