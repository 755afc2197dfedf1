import { expect, test } from 'vitest';

import { asQuery, conversationFilterOf, isNarrow, tagsOf } from './conversation-filter';

test('a filter is the same after it was in an address', () => {
  const filter = { words: 'a & b=c', kind: 'voice', tag: 'Jürgen, 2', archived: true } as const;
  expect(conversationFilterOf(new URLSearchParams(asQuery(filter).toString()))).toEqual(filter);
  const none = conversationFilterOf(new URLSearchParams('kind=other&x=1'));
  expect(none).toEqual({ words: '', kind: '', tag: '', archived: false });
  expect(asQuery(none).size).toBe(0);
});

test('the archive alone is not narrow, words of blanks are none', () => {
  expect(isNarrow(conversationFilterOf(new URLSearchParams('archived=&q=+')))).toBe(false);
  expect(isNarrow(conversationFilterOf(new URLSearchParams('tag=a')))).toBe(true);
});

test('tags are read tidy and once', () => {
  expect(tagsOf(' work,  deep   thought ,, work')).toEqual(['work', 'deep thought']);
});
