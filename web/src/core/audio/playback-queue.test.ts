import { describe, expect, it } from 'vitest';

import { toInt16 } from './pcm';
import { PlaybackQueue, type PlaybackEvent } from './playback-queue';

const RATE = 48_000;
const QUANTUM = 128;

/** Audio of a constant level at the wire's rate: every click shows as a step. */
function audio(ms: number, level = 0.5): Int16Array {
  return toInt16(new Float32Array(ms * 24).fill(level));
}

function render(queue: PlaybackQueue, ms: number, rate = RATE): { events: string[]; samples: number[] } {
  const events: PlaybackEvent[] = [];
  const samples: number[] = [];
  for (let left = Math.round((ms * rate) / 1000); left > 0; left -= QUANTUM) {
    const output = new Float32Array(QUANTUM);
    events.push(...queue.render(output));
    samples.push(...output);
  }
  return { events: events.map(({ kind, item }) => `${kind} ${item}`), samples };
}

function largestStep(samples: number[]): number {
  return samples.reduce((largest, sample, index) => {
    return Math.max(largest, Math.abs(sample - (samples[index - 1] ?? sample)));
  }, 0);
}

describe('PlaybackQueue', () => {
  it('waits until the target is queued, then starts', () => {
    const queue = new PlaybackQueue(RATE);
    queue.push('a', audio(100));
    expect(render(queue, 20).events).toEqual([]);
    queue.push('a', audio(100));
    expect(render(queue, 20).events).toEqual(['started a']);
  });

  it('starts a short answer when it is whole, or when it has waited for as long as the target', () => {
    const whole = new PlaybackQueue(RATE);
    whole.push('a', audio(50));
    whole.finish('a');
    expect(render(whole, 10).events).toEqual(['started a']);

    const waiting = new PlaybackQueue(RATE);
    waiting.push('a', audio(50));
    expect(render(waiting, 110).events).toEqual([]);
    expect(render(waiting, 20).events).toEqual(['started a']);
  });

  it('plays everything there is and then says so', () => {
    const queue = new PlaybackQueue(RATE);
    queue.push('a', audio(150));
    queue.push('a', audio(50));
    queue.finish('a');
    const { events, samples } = render(queue, 400);
    expect(events).toEqual(['started a', 'idle a']);
    const sounding = samples.filter((sample) => Math.abs(sample) > 0.01).length;
    expect(Math.abs(sounding - 0.2 * RATE)).toBeLessThan(0.006 * RATE);
  });

  it.each([24_000, 44_100, 48_000])('counts what was played of each item at %i Hz', (rate) => {
    const queue = new PlaybackQueue(rate);
    queue.push('a', audio(200));
    queue.push('b', audio(1000));
    const { events } = render(queue, 500, rate);
    expect(events).toEqual(['started a', 'started b']);
    expect(queue.state.item).toBe('b');
    expect(Math.abs(queue.state.playedMs - 300)).toBeLessThan(4);
    expect(Math.abs(queue.state.playedMs + queue.state.depthMs - 1000)).toBeLessThan(2);
  });

  it('ends an underrun and begins again without a click', () => {
    const queue = new PlaybackQueue(RATE);
    queue.push('a', audio(150));
    const first = render(queue, 300);
    queue.push('a', audio(300));
    const second = render(queue, 200);
    expect([...first.events, ...second.events]).toEqual(['started a', 'underrun a']);
    expect(largestStep([...first.samples, ...second.samples])).toBeLessThan(0.02);
    expect(queue.state).toMatchObject({ underruns: 1, targetMs: 180 });
  });

  it('goes on counting the same item after an underrun', () => {
    const queue = new PlaybackQueue(RATE);
    queue.push('a', audio(150));
    render(queue, 300);
    queue.push('a', audio(300));
    render(queue, 100);
    expect(Math.abs(queue.state.playedMs - 250)).toBeLessThan(4);
  });

  it('does not call the end of an item an underrun when the news of it comes late', () => {
    const queue = new PlaybackQueue(24_000);
    queue.push('a', audio(150));
    expect(render(queue, 300, 24_000).events).toEqual(['started a', 'underrun a']);
    queue.finish('a');
    expect(render(queue, 10, 24_000).events).toEqual(['idle a']);
  });

  it('flushes within 5 ms, without a click, and tells what was played and dropped', () => {
    const queue = new PlaybackQueue(RATE);
    queue.push('a', audio(8000));
    const before = render(queue, 2400);
    const flushed = queue.flush();
    const after = render(queue, 50);
    expect(flushed.item).toBe('a');
    expect(Math.abs(flushed.playedMs - 2400)).toBeLessThan(4);
    expect(Math.abs(flushed.playedMs + flushed.droppedMs - 8000)).toBeLessThan(2);
    expect(largestStep([...before.samples.slice(-QUANTUM), ...after.samples])).toBeLessThan(0.02);
    expect(after.samples.slice(Math.round(0.0051 * RATE)).every((sample) => sample === 0)).toBe(true);
    expect(after.events).toEqual([]);
  });

  it('flushes an item that was not heard yet', () => {
    const queue = new PlaybackQueue(RATE);
    queue.push('a', audio(50));
    expect(queue.flush()).toEqual({ item: 'a', playedMs: 0, droppedMs: 50 });
    expect(render(queue, 300)).toMatchObject({ events: [] });
  });

  it('has nothing to flush when nothing is queued', () => {
    expect(new PlaybackQueue(RATE).flush()).toEqual({ item: null, playedMs: 0, droppedMs: 0 });
  });

  it('plays a new item after a flush', () => {
    const queue = new PlaybackQueue(RATE);
    queue.push('a', audio(500));
    render(queue, 100);
    queue.flush();
    queue.push('b', audio(200));
    queue.finish('b');
    expect(render(queue, 400).events).toEqual(['started b', 'idle b']);
  });

  it('holds two minutes and no more', () => {
    const queue = new PlaybackQueue(RATE);
    for (let second = 0; second < 130; second += 1) queue.push('a', audio(1000));
    expect(queue.state.depthMs).toBe(120_000);
  });

  it.each([
    ['early at first and late ever after', (piece: number) => (piece < 4 ? 0 : 100)],
    ['late now and then', (piece: number) => (piece % 7 === 5 ? 100 : 0)],
    ['late at random', random(7)],
  ])('never runs dry at real-time pace with 100 ms of jitter: %s', (_, lateness) => {
    const queue = new PlaybackQueue(RATE);
    const events: string[] = [];
    let heardMs = 0;
    // In order, as on one connection: a piece that is late holds back those behind it.
    let arrivalMs = 0;
    for (let piece = 0; piece < 1500; piece += 1) {
      arrivalMs = Math.max(arrivalMs, piece * 40 + lateness(piece));
      const blocks = Math.max(0, Math.floor(((arrivalMs - heardMs) * RATE) / 1000 / QUANTUM));
      events.push(...render(queue, (blocks * QUANTUM * 1000) / RATE).events);
      heardMs += (blocks * QUANTUM * 1000) / RATE;
      queue.push('a', audio(40));
    }
    queue.finish('a');
    events.push(...render(queue, 600).events);
    expect(events).toEqual(['started a', 'idle a']);
    expect(queue.state.underruns).toBe(0);
  });
});

/** Up to 100 ms, the same numbers each time. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return (state / 2 ** 31) * 100;
  };
}
