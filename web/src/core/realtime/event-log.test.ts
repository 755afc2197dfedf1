import { describe, expect, it } from 'vitest';

import { EventLog } from './event-log';

const audio = (item: string, length = 8) => ({
  type: 'response.output_audio.delta',
  item_id: item,
  delta: 'A'.repeat(length),
});
const words = (delta: string) => ({ type: 'response.output_audio_transcript.delta', item_id: 'a', delta });

function lines(log: EventLog): string[] {
  return log.view.entries.map(({ direction, type, count }) => `${direction} ${type} ×${count}`);
}

describe('EventLog', () => {
  it('counts from its beginning', () => {
    const log = new EventLog(1000);
    log.add('in', { type: 'session.created' }, 1250);
    expect(log.view.entries[0]).toMatchObject({
      atMs: 250,
      direction: 'in',
      type: 'session.created',
      count: 1,
    });
  });

  it('puts deltas that come in turns into one line each', () => {
    const log = new EventLog(0);
    for (let turn = 0; turn < 5; turn += 1) {
      log.add('in', audio('a'), turn);
      log.add('in', words('x'), turn);
      log.add('out', { type: 'input_audio_buffer.append', audio: 'AAAA' }, turn);
    }
    expect(lines(log)).toEqual([
      'in response.output_audio.delta ×5',
      'in response.output_audio_transcript.delta ×5',
      'out input_audio_buffer.append ×5',
    ]);
    expect(log.view.entries[0]?.audioCharacters).toBe(40);
    expect(log.view.entries[1]?.event['delta']).toBe('xxxxx');
  });

  it('begins a new line for another item, and after another event', () => {
    const log = new EventLog(0);
    log.add('in', audio('a'), 0);
    log.add('in', audio('b'), 0);
    log.add('in', { type: 'response.done' }, 0);
    log.add('in', audio('b'), 0);
    expect(log.view.entries).toHaveLength(4);
  });

  it('never keeps audio or a secret', () => {
    const log = new EventLog(0);
    const sound = 'UklGRg'.repeat(20);
    log.add('out', { type: 'input_audio_buffer.append', audio: sound }, 0);
    log.add('in', { ...audio('a'), delta: sound }, 0);
    log.add('in', { type: 'response.audio.delta', item_id: 'z', delta: sound }, 0);
    const content = [{ type: 'input_audio', audio: sound, transcript: 'hi' }];
    log.add('in', { type: 'conversation.item.retrieved', item: { content } }, 0);
    log.add('in', { type: 'session.created', session: { client_secret: { value: 'ek_secret' } } }, 0);
    const exported = log.exportJsonl();
    expect(exported).not.toContain('UklGRg');
    expect(exported).not.toContain('ek_secret');
    expect(exported).toContain('"base64_characters":120');
    expect(exported).toContain('"transcript":"hi"');
  });

  it('keeps the nested audio settings of a session', () => {
    const log = new EventLog(0);
    log.add('out', { type: 'session.update', session: { audio: { output: { voice: 'alloy' } } } }, 0);
    expect(log.exportJsonl()).toContain('"voice":"alloy"');
  });

  it('holds 2000 lines and counts those it has lost', () => {
    const log = new EventLog(0);
    for (let index = 0; index < 2010; index += 1) log.add('in', { type: `event.${index}` }, index);
    expect(log.view).toMatchObject({ recorded: 2000, lost: 10 });
    expect(log.view.entries[0]?.type).toBe('event.10');
    expect(log.view.entries).toHaveLength(2000);
  });

  it('shows what passes the filter, also of events that come later', () => {
    const log = new EventLog(0);
    log.add('in', { type: 'session.created' }, 0);
    log.setFilter({ family: 'response', direction: 'in', text: 'NOON' });
    log.add('in', { type: 'response.done', text: 'It is noon.' }, 0);
    log.add('out', { type: 'response.create', text: 'noon' }, 0);
    log.add('in', { type: 'response.done', text: 'night' }, 0);
    expect(lines(log)).toEqual(['in response.done ×1']);
    log.setFilter({ type: 'response.create' });
    expect(lines(log)).toEqual(['out response.create ×1']);
    log.setFilter({});
    expect(log.view.entries).toHaveLength(4);
  });

  it('knows the types there are', () => {
    const log = new EventLog(0);
    for (const type of ['session.created', 'response.done', 'response.done']) log.add('in', { type }, 0);
    expect(log.view.types).toEqual(['response.done', 'session.created']);
    log.clear(0);
    expect(log.view.types).toEqual([]);
  });

  it('counts gaps in playback in one line', () => {
    const log = new EventLog(0);
    for (let gap = 0; gap < 3; gap += 1) log.add('local', { type: 'playback.underrun', item_id: 'a' }, gap);
    expect(lines(log)).toEqual(['local playback.underrun ×3']);
  });

  it('finds text that several deltas spell together', () => {
    const log = new EventLog(0);
    log.setFilter({ text: 'hello' });
    log.add('in', words('hel'), 0);
    log.add('in', words('lo'), 0);
    expect(lines(log)).toEqual(['in response.output_audio_transcript.delta ×2']);
  });

  it('stands still while it is paused and goes on recording', () => {
    const log = new EventLog(0);
    log.add('in', { type: 'a' }, 0);
    log.setPaused(true);
    log.add('in', { type: 'b' }, 0);
    expect(log.view).toMatchObject({ paused: true });
    expect(lines(log)).toEqual(['in a ×1']);
    log.setPaused(false);
    expect(lines(log)).toEqual(['in a ×1', 'in b ×1']);
  });

  it('exports one JSON object a line', () => {
    const log = new EventLog(0);
    log.add('in', { type: 'a', text: 'line\nbreak' }, 1.26);
    log.add('out', { type: 'b' }, 2);
    const [first, second, rest] = log.exportJsonl().split('\n');
    expect(JSON.parse(first ?? '')).toEqual({
      at_ms: 1.3,
      direction: 'in',
      count: 1,
      event: { type: 'a', text: 'line\nbreak' },
    });
    expect(JSON.parse(second ?? '')).toMatchObject({ direction: 'out' });
    expect(rest).toBe('');
  });

  it('gives the same view until something changes, and a new one then', () => {
    const log = new EventLog(0);
    const before = log.view;
    expect(log.view).toBe(before);
    log.add('in', { type: 'a' }, 0);
    expect(log.view).not.toBe(before);
    expect(before.entries).toEqual([]);
  });

  it('shows frames that are no events as such', () => {
    const log = new EventLog(0);
    log.add('in', undefined, 0);
    expect(lines(log)).toEqual(['in (not an event) ×1']);
  });
});
