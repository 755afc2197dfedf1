/** Lines on a canvas: uPlot, drawn with the colours that the stylesheet has at the time. */
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import { brushed, type Bounds, type Curve } from '../../core/analytics';

export type Values = readonly (number | null)[];

export interface Look {
  /** A colour of the stylesheet, as a canvas takes it. */
  readonly colour: (token: string) => string;
  /** Numbers of the tokens of colours. */
  readonly tones: readonly number[];
  readonly number: (value: number) => string;
  readonly tick: (moment: number, span: number) => string;
  /** Count in whole numbers. */
  readonly whole: boolean;
}

export interface Events {
  /** The point under the cursor, of this chart or of one beside it. */
  point: (index: number | null) => void;
  brush: (bounds: Bounds) => void;
  pick: (index: number, isTouch: boolean) => void;
}

/** In the order of lines, so that colour is not the only difference. */
export const DASHES: readonly (readonly number[])[] = [[], [7, 4], [2, 3]];

const HEIGHT = 190;
const WHOLE = [1, 2, 5].flatMap((digit) => Array.from({ length: 13 }, (_, power) => digit * 10 ** power));

export class Plot {
  readonly #plot: uPlot;
  readonly #watch: ResizeObserver;
  #curve: Curve = { starts: [], until: 0 };

  constructor(home: HTMLElement, look: Look, events: Events) {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const axis = {
      stroke: () => look.colour('text-soft'),
      font: `${0.75 * rem}px system-ui, sans-serif`,
      grid: { stroke: () => look.colour('line'), width: 1 },
      ticks: { show: false },
      gap: 6,
    };
    this.#plot = new uPlot(
      {
        width: Math.max(160, home.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        padding: [8, 1.75 * rem, 0, 4],
        cursor: {
          y: false,
          drag: { x: true, y: false, setScale: false, dist: 5 },
          // Where somebody points is shared; what they choose is of one chart.
          sync: {
            key: 'analytics',
            filters: { pub: (type) => type === 'mousemove' || type === 'mouseleave' },
          },
        },
        scales: {
          x: { range: () => this.#width() },
          y: { range: (_, __, highest) => [0, highest > 0 ? highest * 1.08 : 1] },
        },
        axes: [
          {
            ...axis,
            space: 5 * rem,
            size: 1.5 * rem,
            values: (_, splits) => splits.map((moment) => look.tick(moment, this.#span())),
          },
          {
            ...axis,
            space: 1.75 * rem,
            ...(look.whole && { incrs: [...WHOLE].sort((one, other) => one - other) }),
            size: (_, values) => Math.max(2, ...(values ?? []).map((text) => text.length)) * 0.46 * rem + 12,
            values: (_, splits) => splits.map(look.number),
          },
        ],
        series: [
          {},
          ...look.tones.map((tone, index) => {
            const stroke = (): string => look.colour(`series-${tone}`);
            return {
              stroke,
              width: 2,
              dash: [...(DASHES[index] ?? [])],
              points: { size: 6, fill: stroke },
              ...(index === 0 && look.whole && { fill: () => faint(stroke()) }),
            };
          }),
        ],
        hooks: {
          setCursor: [(plot) => events.point(plot.cursor.idx ?? null)],
          setSelect: [
            (plot) => {
              const { left, width } = plot.select;
              if (width === 0) return;
              const at = (place: number): number => plot.valToIdx(plot.posToVal(place, 'x'));
              const bounds = brushed(this.#curve, at(left), at(left + width));
              this.choose(null);
              if (bounds) events.brush(bounds);
            },
          ],
        },
      },
      [[]],
      home,
    );
    // Not told of the click that ends a brush.
    this.#plot.over.addEventListener('click', (event) => {
      const { idx } = this.#plot.cursor;
      const isTouch = (event as PointerEvent).pointerType === 'touch';
      if (idx !== null && idx !== undefined) events.pick(idx, isTouch);
    });
    this.#watch = new ResizeObserver(() =>
      this.#plot.setSize({ width: Math.max(160, home.clientWidth), height: HEIGHT }),
    );
    this.#watch.observe(home);
  }

  show(curve: Curve, lines: readonly Values[]): void {
    this.#curve = curve;
    this.#plot.setData([[...curve.starts], ...lines.map((line) => [...line])]);
  }

  /** Draw again, in what colours and words there are now. */
  redraw(): void {
    this.#plot.redraw(false, true);
  }

  /** Put the cursor on a point, or take it away. */
  point(index: number | null): void {
    const start = index === null ? undefined : this.#curve.starts[index];
    this.#plot.setCursor(
      start === undefined ? { left: -10, top: -10 } : { left: this.#plot.valToPos(start, 'x'), top: 1 },
    );
  }

  /** Mark the points from one to another, or none. */
  choose(range: readonly [number, number] | null): void {
    const places = (range ?? []).map((index) => this.#plot.valToPos(this.#curve.starts[index] ?? 0, 'x'));
    const left = range ? Math.min(...places) : 0;
    const width = range ? Math.max(2, Math.max(...places) - left) : 0;
    this.#plot.setSelect({ left, width, top: 0, height: this.#plot.over.clientHeight }, false);
  }

  stop(): void {
    this.#watch.disconnect();
    this.#plot.destroy();
  }

  /** The first and the last point; around one that is alone there is room. */
  #width(): [number, number] {
    const { starts, until } = this.#curve;
    const [first = 0, last = first] = [starts[0], starts.at(-1)];
    return first < last ? [first, last] : [first - (until - first), until];
  }

  #span(): number {
    return this.#curve.until - (this.#curve.starts[0] ?? 0);
  }
}

function faint(colour: string): string {
  return colour.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.1)');
}
