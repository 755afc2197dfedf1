import { describe, expect, it } from 'vitest';

import { SILENCE_DBFS } from '../../core/audio/pcm';
import { COLUMN_MS, LevelHistory } from './level-history';

describe('LevelHistory', () => {
  it('keeps the loudest level of each column, of each side', () => {
    const history = new LevelHistory();
    history.add({ input: -30, output: -60 }, 1000);
    history.add({ input: -20, output: -50 }, 1010);
    history.add({ input: -40, output: -70 }, 1020);
    expect(history.column('you', history.newest)).toBe(-20);
    expect(history.column('assistant', history.newest)).toBe(-50);
    expect(history.level('you')).toBe(-40);
  });

  it('shows silence where nothing was heard', () => {
    const history = new LevelHistory();
    history.add({ input: -10, output: -10 }, 0);
    history.add({ input: -10, output: -10 }, 3 * COLUMN_MS);
    expect([0, 1, 2, 3, 4].map((column) => history.column('you', column))).toEqual([
      -10,
      SILENCE_DBFS,
      SILENCE_DBFS,
      -10,
      SILENCE_DBFS,
    ]);
  });

  it('never shows a level from a round of the ring ago', () => {
    const history = new LevelHistory();
    history.add({ input: -10, output: -10 }, 0);
    history.add({ input: -30, output: -30 }, 5000 * COLUMN_MS);
    const known = Array.from({ length: 5001 }, (_, column) => history.column('you', column));
    expect(known.filter((level) => level > SILENCE_DBFS)).toEqual([-30]);
  });

  it('keeps the mark of an interruption as long as its column', () => {
    const history = new LevelHistory();
    history.add({ input: -30, output: -10 }, 400);
    history.interrupted(2400, 400);
    expect(history.marks).toEqual([{ column: 10, heardMs: 2400 }]);
    history.add({ input: -30, output: -10 }, 5000 * COLUMN_MS);
    expect(history.marks).toEqual([]);
  });

  it('forgets everything when a new call begins', () => {
    const history = new LevelHistory();
    history.add({ input: -30, output: -10 }, 400);
    history.interrupted(2400, 400);
    history.clear();
    expect(history.column('assistant', history.newest)).toBe(SILENCE_DBFS);
    expect(history.level('assistant')).toBe(SILENCE_DBFS);
    expect(history.marks).toEqual([]);
  });
});
