/**
 * Sample rate conversion by windowed-sinc interpolation. The position in the input is kept as a whole number and a
 * fraction with integer numerator, so nothing drifts and the result does not depend on how the input is cut.
 */

const ZERO_CROSSINGS = 12;
const PHASES = 256;
const KAISER_BETA = 8.6;
/** The pass band ends here, as a share of the lower Nyquist frequency; the rest is left to the filter's slope. */
const ROLLOFF = 0.94;

/** Converts a stream of mono samples from one rate to another. Whole-number rates in hertz. */
export class Resampler {
  readonly #step: { whole: number; numerator: number; denominator: number };
  readonly #kernel: Kernel | null;
  #history: Float32Array;
  /** Samples in `#history`, of which the first is the oldest one the filter still needs. */
  #filled: number;
  #numerator = 0;
  #output = new Float32Array(0);

  constructor(
    readonly fromRate: number,
    readonly toRate: number,
  ) {
    const divisor = greatestCommonDivisor(fromRate, toRate);
    const denominator = toRate / divisor;
    const step = fromRate / divisor;
    this.#step = { whole: Math.floor(step / denominator), numerator: step % denominator, denominator };
    this.#kernel = fromRate === toRate ? null : kernelFor(fromRate, toRate);
    const reach = this.#kernel?.reach ?? 0;
    this.#history = new Float32Array(reach * 2 + 1024);
    this.#filled = Math.max(0, reach - 1); // silence before the first sample, so that output starts with input
  }

  /** Return the samples that `input` completes. They are valid until the next call. */
  process(input: Float32Array): Float32Array {
    if (!this.#kernel) return input;
    this.#append(input);
    return this.#convolve(this.#kernel);
  }

  /** The stream is over: return what the filter still holds, and begin a new stream. */
  flush(): Float32Array {
    const rest = this.#kernel
      ? this.process(new Float32Array(this.#kernel.reach)).slice()
      : new Float32Array(0);
    this.reset();
    return rest;
  }

  reset(): void {
    this.#filled = Math.max(0, (this.#kernel?.reach ?? 0) - 1);
    this.#history.fill(0, 0, this.#filled);
    this.#numerator = 0;
  }

  #append(input: Float32Array): void {
    const needed = this.#filled + input.length;
    if (needed > this.#history.length) {
      const larger = new Float32Array(needed * 2);
      larger.set(this.#history.subarray(0, this.#filled));
      this.#history = larger;
    }
    this.#history.set(input, this.#filled);
    this.#filled = needed;
  }

  #convolve({ taps, table }: Kernel): Float32Array {
    const { whole, numerator, denominator } = this.#step;
    const capacity = Math.ceil((this.#filled * this.toRate) / this.fromRate) + 1;
    if (this.#output.length < capacity) this.#output = new Float32Array(capacity);
    const history = this.#history;
    const output = this.#output;
    let base = 0;
    let written = 0;
    while (base + taps <= this.#filled) {
      const phase = (this.#numerator / denominator) * PHASES;
      const row = Math.floor(phase);
      const blend = phase - row;
      const lower = row * taps;
      const upper = lower + taps;
      let sum = 0;
      for (let tap = 0; tap < taps; tap += 1) {
        const weight = table[lower + tap] ?? 0;
        const next = table[upper + tap] ?? 0;
        sum += (history[base + tap] ?? 0) * (weight + blend * (next - weight));
      }
      output[written] = sum;
      written += 1;
      this.#numerator += numerator;
      base += whole;
      if (this.#numerator >= denominator) {
        this.#numerator -= denominator;
        base += 1;
      }
    }
    // The filter spans more samples than one step advances, so `base` lies within what has arrived.
    history.copyWithin(0, base, this.#filled);
    this.#filled -= base;
    return output.subarray(0, written);
  }
}

interface Kernel {
  /** Input samples on each side of a position. */
  readonly reach: number;
  readonly taps: number;
  /** `PHASES + 1` rows of `taps` weights. */
  readonly table: Float32Array;
}

function kernelFor(fromRate: number, toRate: number): Kernel {
  const cutoff = Math.min(1, toRate / fromRate) * ROLLOFF;
  const halfWidth = ZERO_CROSSINGS / cutoff;
  const reach = Math.ceil(halfWidth);
  const taps = reach * 2;
  const table = new Float32Array((PHASES + 1) * taps);
  for (let row = 0; row <= PHASES; row += 1) {
    const weights = Array.from({ length: taps }, (_, tap) => {
      const distance = tap - (reach - 1) - row / PHASES;
      return cutoff * sinc(cutoff * distance) * kaiser(distance / halfWidth);
    });
    // Each phase passes a constant unchanged.
    const sum = weights.reduce((total, weight) => total + weight, 0);
    weights.forEach((weight, tap) => (table[row * taps + tap] = weight / sum));
  }
  return { reach, taps, table };
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function kaiser(x: number): number {
  return Math.abs(x) >= 1 ? 0 : bessel(KAISER_BETA * Math.sqrt(1 - x * x)) / bessel(KAISER_BETA);
}

/** The modified Bessel function of the first kind and order zero, by its power series. */
function bessel(x: number): number {
  let term = 1;
  let sum = 1;
  for (let index = 1; term > sum * 1e-12; index += 1) {
    term *= (x / (2 * index)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
