import { describe, expect, it } from 'vitest';

import { Replies, truncationsOf } from './replies';

function audio(itemId: string, audioMs: number, responseId = 'r1') {
  return { itemId, contentIndex: 0, responseId, audioMs };
}

describe('Replies', () => {
  it('cut an item where it was heard last', () => {
    const replies = new Replies();
    replies.responseCreated('r1');
    replies.accept(audio('a', 500));
    replies.accept(audio('a', 500));
    replies.started('a');
    const cut = replies.cut();
    expect(truncationsOf(cut, { item: 'a', playedMs: 240.7, droppedMs: 759 })).toEqual([
      { itemId: 'a', contentIndex: 0, audioEndMs: 240 },
    ]);
  });

  it('never cut behind what was received', () => {
    const replies = new Replies();
    replies.accept(audio('a', 100));
    expect(truncationsOf(replies.cut(), { item: 'a', playedMs: 104, droppedMs: 0 })).toMatchObject([
      { audioEndMs: 100 },
    ]);
  });

  it('cut nothing of an item that was heard to its end', () => {
    const replies = new Replies();
    replies.accept(audio('a', 100));
    replies.complete('a');
    expect(truncationsOf(replies.cut(), { item: 'a', playedMs: 100, droppedMs: 0 })).toEqual([]);
  });

  it('cut an item that was queued behind the one being heard at its very beginning', () => {
    const replies = new Replies();
    replies.accept(audio('a', 100));
    replies.accept(audio('b', 100));
    const truncations = truncationsOf(replies.cut(), { item: 'a', playedMs: 50, droppedMs: 150 });
    expect(truncations.map(({ itemId, audioEndMs }) => [itemId, audioEndMs])).toEqual([
      ['a', 50],
      ['b', 0],
    ]);
  });

  it('let nothing through that comes after the cut, not even further items of that response', () => {
    const replies = new Replies();
    replies.responseCreated('r1');
    replies.accept(audio('a', 100));
    replies.cut();
    expect(replies.accept(audio('a', 100))).toBe(false);
    expect(replies.accept(audio('b', 100))).toBe(false);
    replies.responseDone('r1');
    replies.responseCreated('r2');
    expect(replies.accept(audio('c', 100, 'r2'))).toBe(true);
  });

  it('leave alone what was played', () => {
    const replies = new Replies();
    replies.accept(audio('a', 100));
    replies.accept(audio('b', 100));
    replies.started('b');
    expect(replies.cut().items.map(({ itemId }) => itemId)).toEqual(['b']);
    replies.accept(audio('c', 100));
    replies.played('c');
    expect(replies.isUnderWay).toBe(false);
  });

  it('are under way while a response is made or its audio is not played', () => {
    const replies = new Replies();
    expect(replies.isUnderWay).toBe(false);
    replies.responseCreated('r1');
    expect(replies.isUnderWay).toBe(true);
    replies.accept(audio('a', 100));
    replies.responseDone('r1');
    expect(replies.isUnderWay).toBe(true);
    replies.played('a');
    expect(replies.isUnderWay).toBe(false);
  });
});
