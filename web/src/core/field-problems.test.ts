import { describe, expect, it } from 'vitest';

import { problemsAt } from './field-problems';

const FIELDS = ['name', 'control.cache.ttl', 'control.attempts.timeout', 'limits.budget', 'allowed_origins'];

describe('problemsAt', () => {
  it.each([
    ['limits: budget: 5 is no quota.', { 'limits.budget': 'limits: budget: 5 is no quota.' }],
    [
      'control: Expected `int` >= 0 - at `$.cache.ttl`.',
      { 'control.cache.ttl': 'control: Expected `int` >= 0 - at `$.cache.ttl`.' },
    ],
    [
      'name: too long; timeout: too short',
      { name: 'name: too long', 'control.attempts.timeout': 'timeout: too short' },
    ],
    ['There is no such name; try again.', { form: 'There is no such name; try again.' }],
    ['allowed_origins: no origin', { allowed_origins: 'allowed_origins: no origin' }],
    [
      'control: bad - at `$.allowed_origins[0]`.',
      { allowed_origins: 'control: bad - at `$.allowed_origins[0]`.' },
    ],
  ])('places %s', (message, problems) => {
    expect(problemsAt(message, FIELDS)).toEqual(problems);
  });

  it('keeps what is about no field of a form without fields', () => {
    expect(problemsAt('No.', [])).toEqual({ form: 'No.' });
  });
});
