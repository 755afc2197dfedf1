import { describe, expect, it } from 'vitest';

import { KEPT, type CustomProvider } from './api/providers';
import { changesOf, readHeaders, rowsOf, SLUG, slugOf } from './provider-form';
import { problemsIn } from './provider-problems';

const KNOWN: CustomProvider = {
  slug: 'mine',
  name: 'Mine',
  base_url: 'https://ai.example.com/v1',
  enabled: true,
  headers: { authorization: KEPT, 'x-team': KEPT },
  chat_path: null,
  models_path: null,
  created_at: 0,
  modified_at: 0,
};

function wanted(change: object = {}) {
  const { name, base_url, enabled, headers, chat_path, models_path } = { ...KNOWN, ...change };
  return { name, base_url, enabled, headers, chat_path, models_path };
}

describe('slugOf', () => {
  it.each([
    ['My Own AI', 'my-own-ai'],
    ['  Büro & Co. ', 'bu-ro-co'],
    ['---', ''],
    ['a'.repeat(80), 'a'.repeat(56)],
  ])('makes of %j the slug %j', (name, slug) => {
    expect(slugOf(name)).toBe(slug);
    if (slug) expect(slug).toMatch(SLUG);
  });
});

describe('readHeaders', () => {
  it('sends what is kept as the sign for it, and what was typed as it is', () => {
    const rows = rowsOf(KNOWN);
    rows[1]!.value = ' new ';
    rows.push({ name: 'x-more', value: 'more', kept: false }, { name: ' ', value: '', kept: false });
    expect(readHeaders(rows)).toEqual({
      headers: { authorization: KEPT, 'x-team': 'new', 'x-more': 'more' },
    });
  });

  it.each([
    [[{ name: '', value: 'v', kept: false }], { kind: 'unnamed' }],
    [[{ name: 'x', value: '', kept: false }], { kind: 'empty', name: 'x' }],
    [
      [
        { name: 'X', value: '1', kept: false },
        { name: 'x', value: '2', kept: false },
      ],
      { kind: 'twice', name: 'x' },
    ],
  ])('finds what is wrong with %j', (rows, problem) => {
    expect(readHeaders(rows)).toEqual({ problem });
  });
});

describe('changesOf', () => {
  it('holds only what is another', () => {
    expect(changesOf(KNOWN, wanted())).toEqual({});
    expect(changesOf(KNOWN, wanted({ enabled: false, chat_path: 'chat' }))).toEqual({
      enabled: false,
      chat_path: 'chat',
    });
  });

  it('sends all headers as soon as one is another or gone', () => {
    expect(changesOf(KNOWN, wanted({ headers: { authorization: KEPT } }))).toEqual({
      headers: { authorization: KEPT },
    });
  });
});

describe('problemsIn', () => {
  it.each([
    [
      'custom-mine: 10.0.0.1 is an address within this network. If that is meant, add 10.0.0.1 to custom_provider_hosts (X).',
      {
        base_url:
          '10.0.0.1 is an address within this network. If that is meant, add 10.0.0.1 to custom_provider_hosts (X).',
      },
    ],
    [
      'custom-mine: a base_url begins with https:// and a host name.',
      { base_url: 'a base_url begins with https:// and a host name.' },
    ],
    [
      'base_url: the headers that are kept; send "{}".',
      { base_url: 'the headers that are kept; send "{}".' },
    ],
    ['chat_path: a path below base_url.', { chat_path: 'a path below base_url.' }],
    ["custom-mine: headers.'a b' is not a header.", { headers: "headers.'a b' is not a header." }],
    ['headers.x: String should be short', { headers: 'headers.x: String should be short' }],
    ['name: too long; base_url: too short', { name: 'too long', base_url: 'too short' }],
    [
      "There is a custom provider 'mine' already; choose another slug.",
      { slug: "There is a custom provider 'mine' already; choose another slug." },
    ],
    ['The gateway does not answer.', { form: 'The gateway does not answer.' }],
  ])('%s', (message, problems) => {
    expect(problemsIn(message)).toEqual(problems);
  });
});
