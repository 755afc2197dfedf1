import { describe, expect, it } from 'vitest';

import { encodeBase64 } from '../audio/pcm';
import { readServerEvent } from './events';
import { EMPTY_TRANSCRIPT, fold, type LocalEvent, type Transcript } from './reducer';

function told(...events: ({ type: string } & Record<string, unknown>)[]): Transcript {
  return events.reduce<Transcript>(
    (transcript, event) => fold(transcript, readServerEvent(event)),
    EMPTY_TRANSCRIPT,
  );
}

function then(transcript: Transcript, event: LocalEvent): Transcript {
  return fold(transcript, event);
}

function lines({ items }: Transcript): string[] {
  return items.map(({ role, text, status }) => `${role}: ${text} (${status})`);
}

const started = { type: 'input_audio_buffer.speech_started', item_id: 'u1', audio_start_ms: 0 };
const committed = { type: 'input_audio_buffer.committed', item_id: 'u1', previous_item_id: null };
const userAdded = {
  type: 'conversation.item.added',
  item: { id: 'u1', type: 'message', role: 'user', content: [{ type: 'input_audio', transcript: null }] },
};
const userDone = { ...userAdded, type: 'conversation.item.done' };
const transcribed = {
  type: 'conversation.item.input_audio_transcription.completed',
  item_id: 'u1',
  content_index: 0,
  transcript: 'What time is it?',
};
const transcribing = (delta: string) => ({
  type: 'conversation.item.input_audio_transcription.delta',
  item_id: 'u1',
  content_index: 0,
  delta,
});
const outputAdded = {
  type: 'response.output_item.added',
  response_id: 'r1',
  item: { id: 'a1', type: 'message', role: 'assistant', status: 'in_progress', content: [] },
};
const part = { item_id: 'a1', response_id: 'r1', content_index: 0 };
const saying = (delta: string) => ({ type: 'response.output_audio_transcript.delta', ...part, delta });
const sounding = (ms: number) => ({
  type: 'response.output_audio.delta',
  ...part,
  delta: encodeBase64(new Int16Array(ms * 24)),
});
const responseDone = (status: string) => ({ type: 'response.done', response: { id: 'r1', status } });

describe('the transcript', () => {
  it('shows a spoken question as soon as it begins, and its words when they come', () => {
    expect(lines(told(started))).toEqual(['user:  (in_progress)']);
    expect(lines(told(started, transcribing('What'), transcribing(' time')))).toEqual([
      'user: What time (in_progress)',
    ]);
    expect(lines(told(started, committed, userAdded, userDone))).toEqual(['user:  (in_progress)']);
    expect(lines(told(started, committed, userAdded, userDone, transcribed))).toEqual([
      'user: What time is it? (completed)',
    ]);
  });

  it('keeps the question above its answer when the words come later than the answer', () => {
    expect(lines(told(started, committed, userAdded, outputAdded, saying('Noon.'), transcribed))).toEqual([
      'user: What time is it? (completed)',
      'assistant: Noon. (in_progress)',
    ]);
  });

  it('puts a late item where the server says it belongs', () => {
    const late = {
      type: 'conversation.item.added',
      previous_item_id: 'u1',
      item: { id: 'u2', type: 'message', role: 'user', content: [{ type: 'input_text', text: 'second' }] },
    };
    expect(told(committed, outputAdded, late).items.map(({ id }) => id)).toEqual(['u1', 'u2', 'a1']);
  });

  it('takes a noise away again, but not a question that waits for its words', () => {
    expect(told(started, { type: 'input_audio_buffer.cleared' }).items).toEqual([]);
    expect(told(started, committed, { type: 'input_audio_buffer.cleared' }).items).toHaveLength(1);
  });

  it('marks a question whose words could not be found', () => {
    const failed = {
      type: 'conversation.item.input_audio_transcription.failed',
      item_id: 'u1',
      content_index: 0,
      error: { message: 'too noisy' },
    };
    expect(lines(told(committed, failed))).toEqual(['user:  (failed)']);
  });

  it('grows an answer by its transcript and counts its audio', () => {
    const transcript = told(outputAdded, saying('Once '), sounding(200), saying('upon'), sounding(100));
    expect(lines(transcript)).toEqual(['assistant: Once upon (in_progress)']);
    expect(transcript.items[0]?.audioMs).toBe(300);
  });

  it('takes the final words of the server for an answer', () => {
    const done = { type: 'response.output_audio_transcript.done', ...part, transcript: 'Once upon a time.' };
    const itemDone = {
      type: 'response.output_item.done',
      response_id: 'r1',
      item: { id: 'a1', type: 'message', role: 'assistant', status: 'completed', content: [] },
    };
    expect(lines(told(outputAdded, saying('Once'), done, itemDone))).toEqual([
      'assistant: Once upon a time. (completed)',
    ]);
  });

  it('joins the parts of an answer in their order', () => {
    const second = { ...saying('two'), content_index: 1 };
    expect(lines(told(outputAdded, second, saying('one ')))).toEqual(['assistant: one two (in_progress)']);
  });

  it('shows an answer in text alone, by its GA and by its beta name', () => {
    const ga = { type: 'response.output_text.delta', ...part, delta: 'Noon.' };
    const beta = { ...ga, type: 'response.text.delta' };
    expect(lines(told(ga))).toEqual(lines(told(beta)));
    expect(lines(told(ga))).toEqual(['assistant: Noon. (in_progress)']);
  });

  it.each([
    ['completed', 'completed'],
    ['cancelled', 'interrupted'],
    ['incomplete', 'interrupted'],
    ['failed', 'failed'],
  ])('ends what a %s response left open as %s', (status, expected) => {
    expect(told(outputAdded, saying('x'), responseDone(status)).items[0]?.status).toBe(expected);
  });

  it('cuts an answer where it was heard last, and hears nothing more of it', () => {
    const interrupted = then(told(outputAdded, saying('Once upon'), sounding(500)), {
      type: 'local.interrupted',
      itemId: 'a1',
      atMs: 240,
    });
    const after = [saying(' a time'), sounding(100), responseDone('cancelled')].reduce<Transcript>(
      (transcript, event) => fold(transcript, readServerEvent(event)),
      interrupted,
    );
    expect(after.items).toEqual(interrupted.items);
    expect(after.items[0]).toMatchObject({ status: 'interrupted', interruptedAtMs: 240, text: 'Once upon' });
  });

  it('takes a truncation by the server for an interruption, once', () => {
    const truncated = {
      type: 'conversation.item.truncated',
      item_id: 'a1',
      content_index: 0,
      audio_end_ms: 100,
    };
    expect(told(outputAdded, truncated).items[0]).toMatchObject({
      status: 'interrupted',
      interruptedAtMs: 100,
    });
    const local = then(told(outputAdded), { type: 'local.interrupted', itemId: 'a1', atMs: 90 });
    expect(fold(local, readServerEvent(truncated))).toEqual(local);
  });

  it('shows a typed question at once and only once', () => {
    const sent = then(EMPTY_TRANSCRIPT, { type: 'local.text_sent', itemId: 't1', text: 'Hi' });
    const item = { id: 't1', type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] };
    const echoed = ['conversation.item.added', 'conversation.item.done'].reduce<Transcript>(
      (transcript, type) => fold(transcript, readServerEvent({ type, item })),
      sent,
    );
    expect(lines(echoed)).toEqual(['user: Hi (completed)']);
  });

  it('shows a function call with its arguments', () => {
    const item = { id: 'f1', type: 'function_call', name: 'clock', call_id: 'c', arguments: '' };
    const added = { type: 'response.output_item.added', response_id: 'r1', item };
    const argument = {
      type: 'response.function_call_arguments.delta',
      item_id: 'f1',
      response_id: 'r1',
      delta: '{"zone":"UTC"}',
    };
    expect(lines(told(added, argument))).toEqual(['tool: clock {"zone":"UTC"} (in_progress)']);
  });

  it('forgets an item that the server deletes', () => {
    expect(told(outputAdded, { type: 'conversation.item.deleted', item_id: 'a1' }).items).toEqual([]);
  });

  it('leaves nothing open when the connection is gone', () => {
    const transcript = then(told(outputAdded, saying('Once'), started), { type: 'local.disconnected' });
    expect(lines(transcript)).toEqual(['assistant: Once (interrupted)']);
  });

  it('is the same object after an event that changes nothing', () => {
    const transcript = told(outputAdded);
    for (const type of ['session.created', 'response.created', 'rate_limits.updated', 'error']) {
      expect(fold(transcript, readServerEvent({ type }))).toBe(transcript);
    }
  });
});
