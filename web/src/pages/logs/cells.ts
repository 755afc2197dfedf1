/** What the cells of the list say, in the reader's language. */
import { dollars } from '../../app/formats';
import type { LogRow } from '../../core/api/logs';
import { kindOf, type Column } from '../../core/logs';
import { spanOf } from '../../core/sessions';
import { words } from '../../i18n/index.svelte';
import { own } from './words';

export interface Cell {
  readonly text: string;
  readonly tone?: 'good' | 'bad' | 'soft';
  /** All of it, where the cell may be too narrow. */
  readonly title?: string;
}

const NONE: Cell = { text: '–', tone: 'soft' };
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** A moment today as the time alone. */
export function timeOf({ created_at: at }: LogRow): string {
  const isRecent = Date.now() - at * 1000 < DAY_MS / 2;
  return words.moment(at * 1000, {
    ...(isRecent ? {} : { day: '2-digit', month: 'short' }),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
}

/** As in "12 ms", "2.4s" and "2:14". */
export function durationOf(milliseconds: number): string {
  if (milliseconds >= MINUTE_MS) return spanOf(milliseconds / 1000);
  if (milliseconds < 1000) return words.milliseconds(milliseconds);
  const style = { style: 'unit', unit: 'second', unitDisplay: 'narrow' } as const;
  return words.number(milliseconds / 1000, { ...style, maximumFractionDigits: 1 });
}

export function tokensOf(row: LogRow): string {
  if (row.tokens_in === null && row.tokens_out === null) return '–';
  const short = { notation: 'compact', maximumFractionDigits: 1 } as const;
  return [row.tokens_in, row.tokens_out].map((count) => words.number(count ?? 0, short)).join(' / ');
}

export function endOf(row: LogRow): string {
  const ends: Readonly<Record<string, string>> = own.t.ends;
  return ends[row.end_reason] ?? row.end_reason;
}

export function cellOf(row: LogRow, column: Column): Cell {
  switch (column) {
    case 'time':
      return { text: timeOf(row) };
    case 'kind':
      return { text: kindOf(row), tone: 'soft' };
    case 'status':
      return {
        text: `${row.success ? '' : '✕ '}${row.status || '–'}`,
        title: endOf(row),
        ...(row.success ? {} : { tone: 'bad' }),
      };
    case 'ttft':
      return row.first_byte_ms === null ? NONE : { text: durationOf(row.first_byte_ms) };
    case 'total':
      return { text: durationOf(row.duration_ms) };
    case 'tokens':
      return { text: tokensOf(row) };
    case 'cost':
      return row.cost === null ? NONE : { text: dollars(row.cost) };
    case 'cache':
      return row.cached ? { text: own.t.hit, tone: 'good' } : NONE;
    case 'attempts':
      return { text: words.number(row.attempts) };
    case 'end':
      return { text: endOf(row) };
    case 'metadata':
      return worded(
        Object.entries(row.metadata)
          .map(([name, value]) => `${name}=${value}`)
          .join(' '),
      );
    case 'key':
      return worded(row.caller || row.key_id);
    default:
      return worded(row[column]);
  }
}

function worded(text: string): Cell {
  return text === '' ? NONE : { text, title: text };
}
