import { expect, test } from 'vitest';

import { changeOf, providerStates, toneOfLocal, toneOfLog, worst, type ProviderHealth } from './overview';

function place(provider: string, state: ProviderHealth['state'], rests = 0): ProviderHealth {
  return {
    gateway: 'default',
    provider,
    member: '',
    backend: '',
    state,
    failures: 0,
    rests_seconds: rests,
    open_exchanges: 0,
    latency_ms: 12,
  };
}

test('a provider is as well as its worst place, and trouble comes first', () => {
  const states = providerStates([
    place('anthropic', 'closed'),
    place('openai', 'closed'),
    place('openai', 'open', 3.2),
    place('groq', 'resting', 8),
    place('openai', 'half-open'),
  ]);
  expect(states.map(({ provider, tone, restsSeconds }) => [provider, tone, restsSeconds])).toEqual([
    ['openai', 'bad', 4],
    ['groq', 'warn', 8],
    ['anthropic', 'good', 0],
  ]);
});

test('a whole is as bad as its worst part, and what nobody needs yet is no trouble', () => {
  expect(worst([])).toBe('off');
  expect(worst(['off', 'good'])).toBe('good');
  expect(worst(['good', 'bad', 'warn'])).toBe('bad');
});

test('local models that are not started yet are no trouble, missing and failed ones are', () => {
  const tone = (status: 'stopped' | 'starting' | 'ready' | 'failed' | 'missing-models') =>
    toneOfLocal({ status, model: '', demo: false, detail: '' });
  expect(
    ['stopped', 'starting', 'ready', 'missing-models', 'failed'].map((one) => tone(one as 'ready')),
  ).toEqual(['off', 'off', 'good', 'warn', 'bad']);
});

test('a log that waits is a warning, one that lost something is bad', () => {
  const tone = (held_up: boolean, lost: number) =>
    toneOfLog({ database: true, steps: null, log: { waiting_bytes: 9, held_up, lost } });
  expect([tone(false, 0), tone(true, 0), tone(true, 1)]).toEqual(['good', 'warn', 'bad']);
});

test('a change is told only where there is something to compare with', () => {
  expect(changeOf(3, 2)).toBe(50);
  expect(changeOf(1, 2)).toBe(-50);
  for (const nothing of [0, null, undefined]) expect(changeOf(1, nothing)).toBeNull();
  expect(changeOf(null, 2)).toBeNull();
});
