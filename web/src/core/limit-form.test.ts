import { describe, expect, it } from 'vitest';

import {
  faultsIn,
  isOfAKey,
  keyLimitFields,
  keyLimitsIn,
  listIn,
  noVoice,
  perOf,
  tagsOf,
  whereIn,
  whereText,
} from './limit-form';
import { lengthText } from './limits';

describe('conditions of a limit', () => {
  it('are read as they are written', () => {
    const where = { model: ['gpt-4o*', 'openai/*'], 'metadata.team': ['red'] };
    expect(whereIn(whereText(where))).toEqual({ where });
  });

  it('may stand in several lines, and what is no condition is told by its line', () => {
    expect(whereIn(' model: a\n\nmodel:b ')).toEqual({ where: { model: ['a', 'b'] } });
    expect(whereIn('model: a\nno colon')).toEqual({ line: 2 });
    expect(whereIn('model: ,')).toEqual({ line: 1 });
  });

  it('divide by names and tags', () => {
    const per = perOf(['key'], ['team', 'metadata.unit']);
    expect(per).toEqual(['key', 'metadata.team', 'metadata.unit']);
    expect(tagsOf(per)).toEqual(['team', 'unit']);
    expect(listIn(' a,,b\nc ')).toEqual(['a', 'b', 'c']);
  });
});

describe('limits of a key', () => {
  const rules = [
    { measure: 'requests', limit: 60, window: 60 },
    { measure: 'cost', limit: 2.5, window: 86_400 },
    { measure: 'concurrent', limit: 4, window: 60 },
  ] as const;
  const limits = { max_duration: 1_800, concurrent: 2, minutes: '30/day' };

  it('are sent as they were read', () => {
    const fields = keyLimitFields(rules, limits, lengthText);
    expect(fields).toMatchObject({ requests: '60/minute', tokens: '', cost: '2.5/day', concurrent: '4' });
    expect(fields.voice).toMatchObject({ max_duration: '30m', concurrent: '2', minutes: '30/day' });
    expect(faultsIn(fields)).toEqual({});
    expect(keyLimitsIn(fields)).toEqual({
      rules,
      limits: { ...limits, idle: null, sessions: null, tokens: null, budget: null },
    });
  });

  it('that are typed wrongly are told by their field', () => {
    const voice = { ...noVoice(), idle: 'long', concurrent: 'two', budget: 'x/day' };
    expect(faultsIn({ requests: 'x/minute', tokens: '', cost: '', concurrent: '1.5', voice })).toEqual({
      requests: 'quota',
      concurrent: 'number',
      'limits.idle': 'length',
      'limits.concurrent': 'number',
      'limits.budget': 'quota',
    });
  });

  it('are told from other rules by their name', () => {
    expect(isOfAKey({ id: 'key_0123456789ab.cost', per: [] })).toBe(true);
    expect(isOfAKey({ id: 'key_0123456789ab.cost', per: ['key'] })).toBe(false);
    expect(isOfAKey({ id: 'teams', per: [] })).toBe(false);
  });
});
