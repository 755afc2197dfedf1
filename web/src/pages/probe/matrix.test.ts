import { describe, expect, it } from 'vitest';

import { placeAfter } from './matrix';

const extent = { rows: 3, columns: 4, rightToLeft: false };

describe('placeAfter', () => {
  it.each([
    ['ArrowRight', 1, 1, 1, 2],
    ['ArrowRight', 1, 3, 1, 3],
    ['ArrowLeft', 1, 1, 1, 0],
    ['ArrowLeft', 1, 0, 1, 0],
    ['ArrowDown', 1, 1, 2, 1],
    ['ArrowDown', 2, 1, 2, 1],
    ['ArrowUp', 1, 1, 0, 1],
    ['ArrowUp', 0, 1, 0, 1],
    ['Home', 1, 2, 1, 0],
    ['End', 1, 2, 1, 3],
  ])('%s from %i, %i', (key, row, column, nextRow, nextColumn) => {
    expect(placeAfter(key, { row, column }, extent)).toEqual({ row: nextRow, column: nextColumn });
  });

  it('goes the way that the eye does where text runs from right to left', () => {
    const mirrored = { ...extent, rightToLeft: true };
    expect(placeAfter('ArrowLeft', { row: 0, column: 0 }, mirrored)).toEqual({ row: 0, column: 1 });
    expect(placeAfter('ArrowRight', { row: 0, column: 1 }, mirrored)).toEqual({ row: 0, column: 0 });
  });

  it('leaves other keys alone', () => {
    expect(placeAfter('Enter', { row: 0, column: 0 }, extent)).toBeUndefined();
  });
});
