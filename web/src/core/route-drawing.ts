/** Where the elements of a route are drawn: in rows from the start down, so that every way leads downwards. */

import type { RouteElement } from './routes';

export interface DrawnElement {
  readonly element: RouteElement;
  readonly x: number;
  readonly y: number;
}

export interface DrawnWay {
  readonly from: string;
  readonly name: string;
  readonly to: string;
  /** A path of SVG. */
  readonly path: string;
  /** Where the name is written, by its middle. */
  readonly x: number;
  readonly y: number;
}

export interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly elements: readonly DrawnElement[];
  readonly ways: readonly DrawnWay[];
}

/** The size of an element, in the drawing's units. */
export const BOX = { width: 176, height: 48 } as const;

const GAP = { across: 28, down: 60 } as const;
const MARGIN = 12;
/** What a way takes that passes a row. */
const LANE = 32;
/** More is drawn too small, or too wide, to be read. */
const MOST = { elements: 40, wide: 6 } as const;
const SWEEPS = 4;

/** A place in a row: an element's, or that of a way on its way to a later row. */
interface Place {
  readonly element: RouteElement | null;
  readonly row: number;
  readonly before: Place[];
  x: number;
}

/** Draw what is reached from the start; null where that is nothing, leads in a circle, or is too much for a drawing. */
export function drawRoute(elements: readonly RouteElement[]): Drawing | null {
  const rowOf = rowsOf(elements);
  if (!rowOf || rowOf.size === 0 || rowOf.size > MOST.elements) return null;
  const rows: Place[][] = Array.from({ length: Math.max(...rowOf.values()) + 1 }, () => []);
  const places = new Map<string, Place>();
  const put = (element: RouteElement | null, row: number): Place => {
    const place = { element, row, before: [], x: 0 };
    rows[row]?.push(place);
    return place;
  };
  const known = elements.filter(({ id }) => rowOf.has(id));
  for (const element of known) places.set(element.id, put(element, rowOf.get(element.id) ?? 0));
  const chains = known.flatMap((element) =>
    element.outputs.flatMap(({ name, to }) => {
      const [first, last] = [places.get(element.id), places.get(to)];
      if (!first || !last) return [];
      const chain = [first];
      for (let row = first.row + 1; row < last.row; row += 1) chain.push(put(null, row));
      chain.push(last);
      chain.slice(1).forEach((place, at) => place.before.push(chain[at] ?? first));
      return [{ name, chain, first, last, from: element.id, to }];
    }),
  );
  if (rows.some((row) => row.filter(({ element }) => element).length > MOST.wide)) return null;
  const width = arrange(rows);
  const ways = chains.map(({ chain, first, last, from, name, to }) => {
    const siblings = chains
      .filter((one) => one.first === first)
      .sort((one, other) => (one.chain[1]?.x ?? 0) - (other.chain[1]?.x ?? 0));
    const at = siblings.findIndex((one) => one.name === name);
    const x = first.x + (BOX.width * (at + 1)) / (siblings.length + 1) - BOX.width / 2;
    const y = top(first.row) + BOX.height;
    return { from, name, to, path: pathOf([x, y], chain.slice(1), last), x, y: y + 19 };
  });
  const drawn = [...places.values()].flatMap(({ element, x, row }) =>
    element ? [{ element, x: x - BOX.width / 2, y: top(row) }] : [],
  );
  return { width, height: top(rows.length - 1) + BOX.height + MARGIN, elements: drawn, ways };
}

/** The row of each element that is reached: one below the lowest of those that lead to it. Null for a circle. */
function rowsOf(elements: readonly RouteElement[]): Map<string, number> | null {
  const byId = new Map(elements.map((element) => [element.id, element]));
  const start = elements.find(({ type }) => type === 'start');
  const order: RouteElement[] = [];
  const state = new Map<RouteElement, 'open' | 'done'>();
  const visit = (element: RouteElement): boolean => {
    if (state.has(element)) return state.get(element) === 'done';
    state.set(element, 'open');
    const goesOn = element.outputs.every(({ to }) => {
      const next = byId.get(to);
      return next === undefined || visit(next);
    });
    state.set(element, 'done');
    order.unshift(element);
    return goesOn;
  };
  if (start && !visit(start)) return null;
  const rows = new Map(order.map(({ id }) => [id, 0]));
  for (const { id, outputs } of order) {
    for (const { to } of outputs) {
      const row = rows.get(to);
      if (row !== undefined) rows.set(to, Math.max(row, (rows.get(id) ?? 0) + 1));
    }
  }
  return rows;
}

/** Give every place its x, below the middle of those that lead to it as far as there is room. Return the width. */
function arrange(rows: readonly Place[][]): number {
  const widths = rows.map((row) =>
    row.reduce((sum, place) => sum + widthOf(place) + GAP.across, -GAP.across),
  );
  const width = Math.max(...widths) + 2 * MARGIN;
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    rows.forEach((row, at) => {
      if (sweep > 0) row.sort((one, other) => middleOf(one) - middleOf(other));
      let x = (width - (widths[at] ?? 0)) / 2;
      for (const place of row) {
        place.x = x + widthOf(place) / 2;
        x += widthOf(place) + GAP.across;
      }
    });
  }
  return width;
}

function widthOf({ element }: Place): number {
  return element ? BOX.width : LANE;
}

function middleOf({ before, x }: Place): number {
  return before.length > 0 ? before.reduce((sum, place) => sum + place.x, 0) / before.length : x;
}

function top(row: number): number {
  return MARGIN + row * (BOX.height + GAP.down);
}

function pathOf([x, y]: readonly [number, number], places: readonly Place[], last: Place): string {
  let [fromX, fromY] = [x, y];
  let path = `M${fromX} ${fromY}`;
  for (const place of places) {
    const toY = top(place.row);
    const middle = (fromY + toY) / 2;
    path += `C${fromX} ${middle} ${place.x} ${middle} ${place.x} ${toY}`;
    [fromX, fromY] = [place.x, toY];
    if (place !== last) {
      fromY += BOX.height;
      path += `V${fromY}`;
    }
  }
  return path;
}
