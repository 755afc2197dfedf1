/** German words of limits and of times. */
import type { LimitsWords } from './limits.en';

export const limits: LimitsWords = {
  none: 'kein Limit',
  time: 'Zeit',
  per: {
    second: 'pro Sekunde',
    minute: 'pro Minute',
    hour: 'pro Stunde',
    day: 'pro Tag',
    week: 'pro Woche',
    month: 'pro 30 Tage',
  },
  other: 'pro {length}',
  voice: {
    max_duration: 'Längste Sprachsitzung',
    idle: 'Endet nach Stille von',
    concurrent: 'Gleichzeitige Sprachsitzungen',
    sessions: 'Sprachsitzungen',
    minutes: 'Sprachminuten',
    tokens: 'Tokens in Sprache',
    budget: 'Budget für Sprache in US-Dollar',
  },
  lengthHint: 'Zum Beispiel 90s, 30m oder 2h.',
  lengthProblem: 'Das ist keine Zeitspanne. Schreiben Sie 90s, 30m, 2h oder 7d.',
  numberProblem: 'Das ist keine Zahl.',
  quotaProblem: 'Schreiben Sie eine Zahl ab 0.',
};
