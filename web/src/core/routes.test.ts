import { describe, expect, it } from 'vitest';

import {
  conditionsInWords,
  elementsToRead,
  metadataOf,
  readableJson,
  readRoute,
  ROUTE_NAME,
  type ConditionWords,
} from './routes';

const START = { id: 'in', type: 'start', outputs: { next: { elementId: 'a' } } };
const MODEL = {
  id: 'a',
  type: 'model',
  properties: { provider: 'openai', model: 'gpt' },
  outputs: { success: { elementId: 'out' }, fallback: { elementId: 'b' } },
};
const OTHER = { id: 'b', type: 'model', outputs: { success: { elementId: 'out' } } };
const END = { id: 'out', type: 'end', outputs: {} };

describe('readRoute', () => {
  it('reads a list of elements, and an exported route with its name', () => {
    expect(readRoute(JSON.stringify([START, END]))).toEqual({
      kind: 'route',
      name: undefined,
      elements: [START, END],
    });
    expect(readRoute(JSON.stringify({ name: 'r', elements: [START] }))).toEqual({
      kind: 'route',
      name: 'r',
      elements: [START],
    });
  });

  it('says whether a text is no JSON or no route', () => {
    expect(readRoute('[{]')).toMatchObject({
      kind: 'not-json',
      reason: expect.stringMatching(/./) as string,
    });
    for (const text of ['[]', '3', 'null', '{"elements": {}}', '[1]', '[{"id": "a"}, null]']) {
      expect(readRoute(text)).toEqual({ kind: 'no-elements' });
    }
  });
});

describe('elementsToRead', () => {
  it('follows every way from the start, and puts what no way leads to last', () => {
    const stray = { id: 'stray', type: 'end' };
    const read = elementsToRead([stray, OTHER, END, MODEL, START]);
    expect(read.map(({ id }) => id)).toEqual(['in', 'a', 'out', 'b', 'stray']);
    expect(read[1]).toEqual({
      id: 'a',
      type: 'model',
      properties: MODEL.properties,
      outputs: [
        { name: 'success', to: 'out' },
        { name: 'fallback', to: 'b' },
      ],
    });
  });

  it('ends in a circle, and leaves out what is no element', () => {
    const circle = [
      { id: 'in', type: 'start', outputs: { next: { elementId: 'in' } } },
      { type: 'model' },
      { id: 3 },
      { id: 'x', outputs: [1], properties: 'no' },
    ];
    expect(elementsToRead(circle).map(({ id }) => id)).toEqual(['in', 'x']);
  });
});

describe('readableJson', () => {
  it('keeps what fits on one line, and is the same JSON', () => {
    const long = Array.from({ length: 30 }, (_, number) => `word ${number}`);
    const value = { a: [1, { b: null }], long, empty: {}, none: [], text: 'a "b"\n' };
    const text = readableJson(value);
    expect(JSON.parse(text)).toEqual(value);
    expect(text.split('\n')[1]).toBe('  "a": [1, { "b": null }],');
    expect(
      Math.max(
        ...readableJson(value)
          .split('\n')
          .map((line) => line.length),
      ),
    ).toBeLessThan(100);
    expect(readableJson([])).toBe('[]');
  });
});

describe('conditionsInWords', () => {
  const words: ConditionWords = {
    always: 'always',
    and: 'and',
    or: 'or',
    comparisons: { $eq: '{field} is {value}', $in: '{field} is one of {value}', $gte: '{field} >= {value}' },
  };

  it.each([
    [{}, 'always'],
    [{ 'metadata.plan': 'free' }, 'metadata.plan is "free"'],
    [{ 'metadata.plan': { $eq: '{field}' } }, 'metadata.plan is "{field}"'],
    [{ a: { $gte: 1, $in: [1, 2] } }, 'a >= 1 and a is one of 1, 2'],
    [{ a: { $what: 1 } }, 'a $what 1'],
    [{ $or: [{ a: 1 }, { b: 2, c: 3 }] }, 'a is 1 or (b is 2 and c is 3)'],
    [{ d: 4, $or: [{ a: 1 }, { b: 2 }] }, 'd is 4 and (a is 1 or b is 2)'],
    [{ $and: [{ a: 1 }, { $or: [{ b: 2 }, { c: 3 }] }] }, 'a is 1 and (b is 2 or c is 3)'],
  ])('says %j as %s', (conditions, sentence) => {
    expect(conditionsInWords(conditions, words)).toBe(sentence);
  });
});

describe('metadataOf', () => {
  it('takes numbers, true and false as such, and the rest as texts', () => {
    const entries = [
      ['plan', 'free'],
      [' seats ', ' 3 '],
      ['paid', 'true'],
      ['code', '"3"'],
      ['nothing', 'null'],
      ['empty', ''],
      ['list', '[1]'],
      ['', 'lost'],
    ].map(([name = '', value = '']) => ({ name, value }));
    expect(metadataOf(entries)).toEqual({
      plan: 'free',
      seats: 3,
      paid: true,
      code: '3',
      nothing: 'null',
      empty: '',
      list: '[1]',
    });
  });
});

it('knows which names the gateway takes', () => {
  for (const name of ['r', 'My.route_2-b', 'a'.repeat(64)]) expect(name).toMatch(ROUTE_NAME);
  for (const name of ['', '.r', 'a b', 'a/b', 'ü', 'a'.repeat(65)]) expect(name).not.toMatch(ROUTE_NAME);
});
