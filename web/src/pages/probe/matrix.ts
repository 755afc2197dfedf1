/** What the table shows, whoever asked. */
import type { ProbeCell } from '../../core/api/console';

export interface MatrixRow {
  readonly name: string;
  /** What is shown where. */
  readonly text: string;
  /** Who does that; empty where it says nothing. */
  readonly client: string;
  /** Whether it must be refused. */
  readonly control: boolean;
}

export interface MatrixColumn {
  readonly way: string;
  readonly title: string;
}

export type MatrixCell = Omit<ProbeCell, 'type'>;

/** Where the focus goes from a place in a table of so many rows and columns; undefined for any other key. */
export function placeAfter(
  key: string,
  { row, column }: Place,
  { rows, columns, rightToLeft }: Extent,
): Place | undefined {
  const forward = rightToLeft ? 'ArrowLeft' : 'ArrowRight';
  const backward = rightToLeft ? 'ArrowRight' : 'ArrowLeft';
  switch (key) {
    case forward:
      return { row, column: Math.min(column + 1, columns - 1) };
    case backward:
      return { row, column: Math.max(column - 1, 0) };
    case 'ArrowDown':
      return { row: Math.min(row + 1, rows - 1), column };
    case 'ArrowUp':
      return { row: Math.max(row - 1, 0), column };
    case 'Home':
      return { row, column: 0 };
    case 'End':
      return { row, column: columns - 1 };
    default:
      return undefined;
  }
}

export interface Place {
  readonly row: number;
  readonly column: number;
}

export interface Extent {
  readonly rows: number;
  readonly columns: number;
  readonly rightToLeft: boolean;
}
