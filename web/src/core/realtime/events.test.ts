import { describe, expect, it } from 'vitest';

import { encodeBase64 } from '../audio/pcm';
import { parseServerEvent } from './events';

function parsed(event: object) {
  return parseServerEvent(JSON.stringify(event));
}

describe('parseServerEvent', () => {
  it.each([
    ['response.audio.delta', 'response.output_audio.delta'],
    ['response.audio.done', 'response.output_audio.done'],
    ['response.audio_transcript.delta', 'response.output_audio_transcript.delta'],
    ['response.audio_transcript.done', 'response.output_audio_transcript.done'],
    ['response.text.delta', 'response.output_text.delta'],
    ['response.text.done', 'response.output_text.done'],
  ])('reads the beta name %s as %s', (beta, ga) => {
    const fields = {
      item_id: 'i',
      response_id: 'r',
      content_index: 0,
      delta: 'AAAA',
      transcript: 'x',
      text: 'x',
    };
    expect(parsed({ type: beta, ...fields })).toEqual(parsed({ type: ga, ...fields }));
    expect(parsed({ type: ga, ...fields }).type).toBe(ga);
  });

  it('tells how long a piece of audio is', () => {
    const delta = encodeBase64(new Int16Array(4800));
    expect(
      parsed({
        type: 'response.output_audio.delta',
        item_id: 'i',
        response_id: 'r',
        content_index: 1,
        delta,
      }),
    ).toEqual({
      type: 'response.output_audio.delta',
      itemId: 'i',
      responseId: 'r',
      contentIndex: 1,
      audio: delta,
      audioMs: 200,
    });
  });

  it('reads items with their words, whatever kind of content holds them', () => {
    const content = [
      { type: 'output_audio', transcript: 'a' },
      { type: 'output_text', text: 'b' },
      { type: 'input_audio', transcript: null },
    ];
    const item = { id: 'i', type: 'message', role: 'assistant', status: 'completed', content };
    expect(parsed({ type: 'conversation.item.done', item })).toMatchObject({
      item: { id: 'i', kind: 'message', role: 'assistant', status: 'completed', parts: ['a', 'b', ''] },
    });
  });

  it('finds the turn detection in the nested and in the flat session', () => {
    const turnDetection = { type: 'server_vad', interrupt_response: false };
    const read = {
      type: 'session.updated',
      turnDetection: { type: 'server_vad', interruptsResponse: false },
    };
    const nested = { audio: { input: { turn_detection: turnDetection } } };
    expect(parsed({ type: 'session.updated', session: nested })).toEqual(read);
    expect(parsed({ type: 'session.updated', session: { turn_detection: turnDetection } })).toEqual(read);
    expect(
      parsed({ type: 'session.updated', session: { audio: { input: { turn_detection: null } } } }),
    ).toEqual({
      type: 'session.updated',
      turnDetection: null,
    });
  });

  it('tells a response beside the conversation from one in it', () => {
    const created = (response: object) => parsed({ type: 'response.created', response });
    expect(created({ id: 'r', conversation_id: null })).toMatchObject({ outOfBand: true });
    expect(created({ id: 'r', conversation_id: 'c' })).toMatchObject({ outOfBand: false });
    expect(created({ id: 'r' })).toMatchObject({ outOfBand: false });
  });

  it('reads why a response failed', () => {
    const response = {
      id: 'r',
      status: 'failed',
      status_details: {
        type: 'failed',
        error: { type: 't', code: 'insufficient_quota', message: 'No credit.' },
      },
    };
    expect(parsed({ type: 'response.done', response })).toMatchObject({
      status: 'failed',
      error: { code: 'insufficient_quota', message: 'No credit.' },
    });
  });

  it('calls events that it does not know by their name', () => {
    expect(parsed({ type: 'rate_limits.updated', rate_limits: [] })).toEqual({
      type: 'other',
      name: 'rate_limits.updated',
    });
  });

  it.each(['', 'null', '[]', '{"type": 3}', '{"a": 1', '"text"'])('takes %j for no event', (text) => {
    expect(parseServerEvent(text)).toEqual({ type: 'other', name: '' });
  });

  it('takes an event without what its name promises for one it does not know', () => {
    expect(parsed({ type: 'response.output_audio.delta', delta: 'AAAA' })).toEqual({
      type: 'other',
      name: 'response.output_audio.delta',
    });
  });

  it('is not deceived by names of Object.prototype', () => {
    expect(parsed({ type: 'constructor' })).toEqual({ type: 'other', name: 'constructor' });
    expect(parsed({ type: '__proto__' })).toEqual({ type: 'other', name: '__proto__' });
  });
});
