/** What was said, by whom, in order: a pure fold over the events of a realtime session. */

import type { ConversationItem, ServerEvent } from './events';

export type TranscriptRole = 'user' | 'assistant' | 'system' | 'tool';
export type TranscriptStatus = 'in_progress' | 'completed' | 'interrupted' | 'failed';

export interface TranscriptItem {
  readonly id: string;
  readonly role: TranscriptRole;
  /** What is known of the words so far: `parts` joined. */
  readonly text: string;
  /** By content index. */
  readonly parts: readonly string[];
  readonly status: TranscriptStatus;
  /** The response it belongs to, of an assistant's item. */
  readonly responseId?: string;
  /** Audio received, in milliseconds. */
  readonly audioMs?: number;
  /** Whether the server has taken a spoken question into the conversation; until then it may turn out to be noise. */
  readonly committed?: boolean;
  /** How much of it had been heard when it was interrupted. */
  readonly interruptedAtMs?: number;
}

export interface Transcript {
  readonly items: readonly TranscriptItem[];
}

export const EMPTY_TRANSCRIPT: Transcript = { items: [] };

/** What happened on this side. */
export type LocalEvent =
  | { readonly type: 'local.text_sent'; readonly itemId: string; readonly text: string }
  | { readonly type: 'local.interrupted'; readonly itemId: string; readonly atMs: number }
  /** The connection is gone; what was under way will not be completed. */
  | { readonly type: 'local.disconnected' };

export function fold(state: Transcript, event: ServerEvent | LocalEvent): Transcript {
  switch (event.type) {
    case 'local.text_sent':
      return upsert(state, event.itemId, 'user', (item) => withParts(item, [event.text], 'completed'));
    case 'local.interrupted':
      return interrupt(state, event.itemId, event.atMs);
    case 'local.disconnected':
      return disconnect(state);
    case 'input_audio_buffer.speech_started':
      return upsert(state, event.itemId, 'user', (item) => item);
    case 'input_audio_buffer.committed':
      return upsert(
        state,
        event.itemId,
        'user',
        (item) => ({ ...item, committed: true }),
        event.previousItemId,
      );
    case 'input_audio_buffer.cleared':
      return { items: state.items.filter((item) => item.committed || !isUnspoken(item)) };
    case 'conversation.item.added':
      return addItem(state, event.item, undefined, event.previousItemId);
    case 'conversation.item.done':
      return finishItem(state, event.item);
    case 'conversation.item.deleted':
      return { items: state.items.filter(({ id }) => id !== event.itemId) };
    case 'conversation.item.truncated':
      return interrupt(state, event.itemId, event.audioEndMs);
    case 'conversation.item.input_audio_transcription.delta':
      return upsert(state, event.itemId, 'user', (item) => appended(item, event.contentIndex, event.delta));
    case 'conversation.item.input_audio_transcription.completed':
      return upsert(state, event.itemId, 'user', (item) => ({
        ...withPart(item, event.contentIndex, event.transcript),
        status: 'completed',
      }));
    case 'conversation.item.input_audio_transcription.failed':
      return upsert(state, event.itemId, 'user', (item) => ({ ...item, status: 'failed' }));
    case 'response.output_item.added':
      return addItem(state, event.item, event.responseId);
    case 'response.output_item.done':
      return finishItem(state, event.item);
    case 'response.output_audio.delta':
      return updateSpoken(state, event.itemId, event.responseId, (item) => ({
        ...item,
        audioMs: (item.audioMs ?? 0) + event.audioMs,
      }));
    case 'response.output_audio_transcript.delta':
    case 'response.output_text.delta':
      return updateSpoken(state, event.itemId, event.responseId, (item) =>
        appended(item, event.contentIndex, event.delta),
      );
    case 'response.output_audio_transcript.done':
    case 'response.output_text.done':
      return updateSpoken(state, event.itemId, event.responseId, (item) =>
        withPart(item, event.contentIndex, event.text),
      );
    case 'response.function_call_arguments.delta':
      return update(state, event.itemId, (item) => appended(item, 1, event.delta));
    case 'response.done':
      return finishResponse(state, event);
    case 'session.created':
    case 'session.updated':
    case 'error':
    case 'input_audio_buffer.speech_stopped':
    case 'response.created':
    case 'response.output_audio.done':
    case 'other':
      return state;
  }
}

type Change = (item: TranscriptItem) => TranscriptItem;

function update(state: Transcript, id: string, change: Change): Transcript {
  const item = state.items.find((known) => known.id === id);
  if (!item) return state;
  const changed = change(item);
  return changed === item ? state : { items: state.items.map((known) => (known === item ? changed : known)) };
}

/** Change an item, or put a new one where it belongs: after `previousItemId`, or at the end. */
function upsert(
  state: Transcript,
  id: string,
  role: TranscriptRole,
  change: Change,
  previousItemId: string | null = null,
): Transcript {
  if (state.items.some((item) => item.id === id)) return update(state, id, change);
  const created = change({ id, role, text: '', parts: [], status: 'in_progress' });
  const previous = state.items.findIndex((item) => item.id === previousItemId);
  const place = previous === -1 ? state.items.length : previous + 1;
  return { items: [...state.items.slice(0, place), created, ...state.items.slice(place)] };
}

/** What still arrives for an interrupted item was never heard. */
function updateSpoken(state: Transcript, id: string, responseId: string, change: Change): Transcript {
  return upsert(state, id, 'assistant', (item) =>
    item.status === 'interrupted' ? item : change({ ...item, responseId }),
  );
}

function addItem(
  state: Transcript,
  item: ConversationItem,
  responseId: string | undefined,
  previousItemId: string | null = null,
): Transcript {
  const role = roleOf(item);
  if (!role) return state;
  return upsert(
    state,
    item.id,
    role,
    (known) => ({
      ...known,
      ...(role === 'user' ? { committed: true } : {}),
      ...(responseId === undefined ? {} : { responseId }),
      ...(known.text === '' ? partsOf(item) : {}),
    }),
    previousItemId,
  );
}

function finishItem(state: Transcript, item: ConversationItem): Transcript {
  return update(state, item.id, (known) => {
    if (known.status !== 'in_progress') return known;
    const filled = known.text === '' ? { ...known, ...partsOf(item) } : known;
    if (item.status === 'incomplete') return { ...filled, status: 'interrupted' };
    // A spoken question is complete when its words are known, which is later.
    if (filled.role === 'user' && filled.text === '') return filled;
    return { ...filled, status: 'completed' };
  });
}

function finishResponse(state: Transcript, done: ServerEvent & { type: 'response.done' }): Transcript {
  const status = statusAfter(done.status);
  if (!state.items.some((item) => item.responseId === done.responseId && item.status === 'in_progress'))
    return state;
  return {
    items: state.items.map((item) =>
      item.responseId === done.responseId && item.status === 'in_progress' ? { ...item, status } : item,
    ),
  };
}

function statusAfter(status: (ServerEvent & { type: 'response.done' })['status']): TranscriptStatus {
  switch (status) {
    case 'in_progress':
    case 'completed':
      return 'completed';
    case 'cancelled':
    case 'incomplete':
      return 'interrupted';
    case 'failed':
      return 'failed';
  }
}

/** A server confirms a truncation with the value it was given; the first report stays. */
function interrupt(state: Transcript, id: string, atMs: number): Transcript {
  return update(state, id, (item) =>
    item.interruptedAtMs === undefined ? { ...item, status: 'interrupted', interruptedAtMs: atMs } : item,
  );
}

function disconnect(state: Transcript): Transcript {
  const kept = state.items.filter((item) => !isUnspoken(item));
  return {
    items: kept.map((item) => (item.status === 'in_progress' ? { ...item, status: 'interrupted' } : item)),
  };
}

function isUnspoken(item: TranscriptItem): boolean {
  return item.role === 'user' && item.status === 'in_progress' && item.text === '';
}

function roleOf(item: ConversationItem): TranscriptRole | null {
  switch (item.kind) {
    case 'function_call':
      return 'tool';
    case 'message':
      return item.role;
    case 'other':
      return null;
  }
}

/** A function call reads as its name and its arguments. */
function partsOf(item: ConversationItem): Pick<TranscriptItem, 'parts' | 'text'> {
  return textOf(item.kind === 'function_call' ? [`${item.name} `, item.arguments] : item.parts);
}

function appended(item: TranscriptItem, index: number, text: string): TranscriptItem {
  return withPart(item, index, (item.parts[index] ?? '') + text);
}

function withPart(item: TranscriptItem, index: number, text: string): TranscriptItem {
  const length = Math.max(item.parts.length, index + 1);
  const parts = Array.from({ length }, (_, at) => (at === index ? text : (item.parts[at] ?? '')));
  return { ...item, ...textOf(parts) };
}

function withParts(item: TranscriptItem, parts: readonly string[], status: TranscriptStatus): TranscriptItem {
  return { ...item, ...textOf(parts), status };
}

function textOf(parts: readonly string[]): Pick<TranscriptItem, 'parts' | 'text'> {
  return { parts, text: parts.join('') };
}
