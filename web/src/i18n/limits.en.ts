/** English words of limits and of times. */
import type { Widen } from './catalogue';

export type LimitsWords = Widen<typeof limits>;

export const limits = {
  none: 'no limit',
  time: 'time',
  per: {
    second: 'per second',
    minute: 'per minute',
    hour: 'per hour',
    day: 'per day',
    week: 'per week',
    month: 'per 30 days',
  },
  other: 'per {length}',
  voice: {
    max_duration: 'Longest voice session',
    idle: 'Ends after silence of',
    concurrent: 'Voice sessions at once',
    sessions: 'Voice sessions',
    minutes: 'Minutes of voice',
    tokens: 'Tokens in voice',
    budget: 'Budget for voice in US dollars',
  },
  lengthHint: 'Such as 90s, 30m or 2h.',
  lengthProblem: 'This is no length of time. Write 90s, 30m, 2h or 7d.',
  numberProblem: 'This is no number.',
  quotaProblem: 'Write a number, 0 or more.',
};
