/** The loudness of both sides over the last seconds, for drawing: a ring of columns, each the loudest of its 40 ms. */
import { SILENCE_DBFS } from '../../core/audio/pcm';
import type { VoiceLevels } from '../../core/realtime/controller';

export const COLUMN_MS = 40;
/** Enough for the widest screen at four pixels a column. */
const COLUMNS = 1024;

export type Side = 'you' | 'assistant';

/** Where the assistant was cut off, and how much of its answer had been heard. */
export interface InterruptionMark {
  readonly column: number;
  readonly heardMs: number;
}

export class LevelHistory {
  readonly #sides: Readonly<Record<Side, Float32Array>> = { you: silence(), assistant: silence() };
  #newest = 0;
  #latest: Readonly<Record<Side, number>> = { you: SILENCE_DBFS, assistant: SILENCE_DBFS };
  #marks: InterruptionMark[] = [];

  /** `at` in milliseconds of one clock that never goes back. */
  add({ input, output }: VoiceLevels, at: number): void {
    this.#advance(columnOf(at));
    this.#latest = { you: input, assistant: output };
    this.#raise('you', input);
    this.#raise('assistant', output);
  }

  interrupted(heardMs: number, at: number): void {
    this.#marks.push({ column: columnOf(at), heardMs });
  }

  clear(): void {
    this.#sides.you.fill(SILENCE_DBFS);
    this.#sides.assistant.fill(SILENCE_DBFS);
    this.#latest = { you: SILENCE_DBFS, assistant: SILENCE_DBFS };
    this.#marks = [];
  }

  /** What a side's level is now, in dBFS. */
  level(side: Side): number {
    return this.#latest[side];
  }

  /** A column's level in dBFS; silence where none is known. */
  column(side: Side, column: number): number {
    if (column > this.#newest || column <= this.#newest - COLUMNS || column < 0) return SILENCE_DBFS;
    return this.#sides[side][column % COLUMNS] ?? SILENCE_DBFS;
  }

  /** The number of the newest column. */
  get newest(): number {
    return this.#newest;
  }

  /** The marks that still lie within the ring. */
  get marks(): readonly InterruptionMark[] {
    return this.#marks;
  }

  #advance(column: number): void {
    const skipped = Math.min(column - this.#newest, COLUMNS);
    for (let back = 0; back < skipped; back += 1) {
      this.#sides.you[(column - back) % COLUMNS] = SILENCE_DBFS;
      this.#sides.assistant[(column - back) % COLUMNS] = SILENCE_DBFS;
    }
    if (skipped <= 0) return;
    this.#newest = column;
    this.#marks = this.#marks.filter((mark) => mark.column > column - COLUMNS);
  }

  #raise(side: Side, level: number): void {
    const place = this.#newest % COLUMNS;
    this.#sides[side][place] = Math.max(this.#sides[side][place] ?? SILENCE_DBFS, level);
  }
}

export function columnOf(at: number): number {
  return Math.floor(at / COLUMN_MS);
}

function silence(): Float32Array {
  return new Float32Array(COLUMNS).fill(SILENCE_DBFS);
}
