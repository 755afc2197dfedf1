/** How much audio to gather before playing: more after the queue ran dry, less after a while without that. */

const START_MS = 120;
const LARGEST_MS = 600;
const SMALLEST_MS = 80;
const GROWTH = 1.5;
const SHRINKAGE = 0.8;
const CALM_MS = 20_000;

/** Pure: the caller says what time it is, in milliseconds of any clock that does not go back. */
export class JitterTarget {
  #targetMs = START_MS;
  #calmSinceMs: number;

  constructor(nowMs = 0) {
    this.#calmSinceMs = nowMs;
  }

  get targetMs(): number {
    return this.#targetMs;
  }

  underran(nowMs: number): void {
    this.#targetMs = Math.min(LARGEST_MS, this.#targetMs * GROWTH);
    this.#calmSinceMs = nowMs;
  }

  passed(nowMs: number): void {
    if (nowMs - this.#calmSinceMs < CALM_MS) return;
    this.#targetMs = Math.max(SMALLEST_MS, this.#targetMs * SHRINKAGE);
    this.#calmSinceMs = nowMs;
  }
}
