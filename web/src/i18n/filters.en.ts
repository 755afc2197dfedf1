import type { Widen } from './catalogue';

export const filters = {
  label: 'Filter',
  range: 'Time',
  between: 'Between two moments',
  ranges: {
    '15m': 'Last 15 minutes',
    '1h': 'Last hour',
    '6h': 'Last 6 hours',
    '24h': 'Last 24 hours',
    '7d': 'Last 7 days',
    '30d': 'Last 30 days',
    '90d': 'Last 90 days',
  },
  words: 'Filter by words',
  placeholder: 'model:gpt-4o status:>=400 any text',
  apply: 'Apply',
  active: 'Active filters',
  drop: 'Remove the filter {word}',
  dropTime: 'Remove the time',
  hint: 'name:value narrows, with several values between commas; a number may follow >, >=, <, <=, and != means: not. Names: {fields}, metadata.NAME. Enter applies.',
};
export type FiltersWords = Widen<typeof filters>;
