import { describe, expect, it } from 'vitest';

import { FrameOutbox } from './outbox';

function outboxOn(line: { buffered: number }) {
  const sent: string[] = [];
  return {
    sent,
    outbox: new FrameOutbox(
      () => line.buffered,
      (audio) => sent.push(audio),
    ),
  };
}

describe('FrameOutbox', () => {
  it('sends at once on a free line', () => {
    const { sent, outbox } = outboxOn({ buffered: 0 });
    outbox.push('a');
    expect(sent).toEqual(['a']);
  });

  it('drops the oldest frames on a congested line and counts them', () => {
    const line = { buffered: 300_000 };
    const { sent, outbox } = outboxOn(line);
    for (let frame = 0; frame < 30; frame += 1) outbox.push(String(frame));
    expect(sent).toEqual([]);
    expect(outbox.dropped).toBe(5);
    line.buffered = 0;
    outbox.push('last');
    expect(sent.slice(0, 2)).toEqual(['5', '6']);
    expect(sent).toHaveLength(26);
  });

  it('sends what waits before something that belongs after it', () => {
    const { sent, outbox } = outboxOn({ buffered: 300_000 });
    outbox.push('a');
    outbox.flush();
    expect(sent).toEqual(['a']);
  });

  it('forgets what waits when it is cleared', () => {
    const { sent, outbox } = outboxOn({ buffered: 300_000 });
    outbox.push('a');
    outbox.clear();
    outbox.flush();
    expect(sent).toEqual([]);
  });
});
