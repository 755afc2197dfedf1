import { describe, expect, it } from 'vitest';

import { BOX, drawRoute, type Drawing } from './route-drawing';
import type { RouteElement } from './routes';

function element(id: string, outputs: Readonly<Record<string, string>> = {}, type = 'model'): RouteElement {
  return {
    id,
    type,
    properties: {},
    outputs: Object.entries(outputs).map(([name, to]) => ({ name, to })),
  };
}

function drawn(elements: readonly RouteElement[]): Drawing {
  const drawing = drawRoute(elements);
  if (!drawing) throw new Error('nothing was drawn');
  return drawing;
}

const START = element('in', { next: 'a' }, 'start');
const FALLING_BACK = [
  START,
  element('a', { success: 'out', fallback: 'b' }),
  element('b', { success: 'out', fallback: 'c' }),
  element('c', { success: 'out' }),
  element('out', {}, 'end'),
];

describe('drawRoute', () => {
  it('puts every element below all that lead to it', () => {
    const { elements, ways } = drawn(FALLING_BACK);
    const y = new Map(elements.map(({ element: { id }, y: at }) => [id, at]));
    expect([...y.keys()].sort()).toEqual(['a', 'b', 'c', 'in', 'out']);
    expect(ways).toHaveLength(6);
    for (const { from, to } of ways) expect(y.get(to)).toBeGreaterThan(y.get(from) ?? Infinity);
  });

  it('lets no element lie on another, nor outside', () => {
    const shares = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((to) => [`20% ${to}`, to]));
    const { elements, width, height } = drawn([
      element('in', { next: 'p' }, 'start'),
      element('p', shares, 'percentage'),
      ...['a', 'b', 'c', 'd', 'e'].map((id) => element(id, { success: 'out', fallback: 'last' })),
      element('last', { success: 'out' }),
      element('out', {}, 'end'),
    ]);
    for (const one of elements) {
      expect(one.x).toBeGreaterThanOrEqual(0);
      expect(one.x + BOX.width).toBeLessThanOrEqual(width);
      expect(one.y + BOX.height).toBeLessThanOrEqual(height);
      for (const other of elements) {
        if (one === other) continue;
        const apart = Math.abs(one.x - other.x) >= BOX.width || Math.abs(one.y - other.y) >= BOX.height;
        expect(apart, `${one.element.id} on ${other.element.id}`).toBe(true);
      }
    }
  });

  it('leads a way that passes a row around what stands there', () => {
    const { elements, ways } = drawn(FALLING_BACK);
    const way = ways.find(({ from, name }) => from === 'a' && name === 'success');
    // Where it goes straight down, it passes a row.
    const passing = [...(way?.path ?? '').matchAll(/([\d.]+) ([\d.]+)V([\d.]+)/g)].map(([, x, y]) => [
      Number(x),
      Number(y),
    ]);
    expect(passing).toHaveLength(2);
    for (const [x, y] of passing) {
      const there = elements.filter((one) => one.y === y);
      expect(there).toHaveLength(1);
      for (const one of there) expect((x ?? 0) < one.x || (x ?? 0) > one.x + BOX.width).toBe(true);
    }
  });

  it('leaves out what is not reached and what is not there', () => {
    const { elements, ways } = drawn([
      element('in', { next: 'out', other: 'gone' }, 'start'),
      element('out', {}, 'end'),
      element('stray', { success: 'out' }),
    ]);
    expect(elements.map(({ element: { id } }) => id)).toEqual(['in', 'out']);
    expect(ways.map(({ name }) => name)).toEqual(['next']);
  });

  it('draws nothing without a start, in a circle, and where it could not be read', () => {
    expect(drawRoute([element('a', {})])).toBeNull();
    expect(drawRoute([START, element('a', { success: 'b' }), element('b', { success: 'a' })])).toBeNull();
    const many = Array.from({ length: 50 }, (_, number) =>
      element(`${number}`, { success: `${number + 1}` }, number === 0 ? 'start' : 'model'),
    );
    expect(drawRoute(many)).toBeNull();
    expect(drawRoute(many.slice(0, 30))).not.toBeNull();
  });
});
