/**
 * The realtime events that the console reads and sends. Beta names become GA names when an event is read, so that one
 * set of cases serves both; events we have no use for become `other`.
 */

import { durationOfBase64 } from '../audio/pcm';
import { asList, asNumber, asObject, asString, parseJson, type JsonObject } from '../narrow';

export interface TurnDetection {
  readonly type: string;
  readonly interruptsResponse: boolean;
}

export interface ConversationItem {
  readonly id: string;
  readonly kind: 'message' | 'function_call' | 'other';
  readonly role: 'user' | 'assistant' | 'system' | null;
  readonly status: string | null;
  /** Text and transcripts by content index. */
  readonly parts: readonly string[];
  /** Of a function call. */
  readonly name: string;
  readonly arguments: string;
}

export interface ErrorBody {
  readonly type: string;
  readonly code: string;
  readonly message: string;
  /** The client event at fault. */
  readonly eventId: string | null;
}

export type ResponseStatus = 'in_progress' | 'completed' | 'cancelled' | 'failed' | 'incomplete';

interface ItemPart {
  readonly itemId: string;
  readonly contentIndex: number;
}

interface ResponsePart extends ItemPart {
  readonly responseId: string;
}

export type ServerEvent =
  | { readonly type: 'session.created' }
  | { readonly type: 'session.updated'; readonly turnDetection: TurnDetection | null }
  | { readonly type: 'error'; readonly error: ErrorBody }
  | { readonly type: 'input_audio_buffer.speech_started'; readonly itemId: string }
  | { readonly type: 'input_audio_buffer.speech_stopped'; readonly itemId: string }
  | {
      readonly type: 'input_audio_buffer.committed';
      readonly itemId: string;
      readonly previousItemId: string | null;
    }
  | { readonly type: 'input_audio_buffer.cleared' }
  | {
      readonly type: 'conversation.item.added';
      readonly item: ConversationItem;
      readonly previousItemId: string | null;
    }
  | { readonly type: 'conversation.item.done'; readonly item: ConversationItem }
  | { readonly type: 'conversation.item.deleted'; readonly itemId: string }
  | { readonly type: 'conversation.item.truncated'; readonly itemId: string; readonly audioEndMs: number }
  | ({
      readonly type: 'conversation.item.input_audio_transcription.delta';
      readonly delta: string;
    } & ItemPart)
  | ({
      readonly type: 'conversation.item.input_audio_transcription.completed';
      readonly transcript: string;
    } & ItemPart)
  | ({
      readonly type: 'conversation.item.input_audio_transcription.failed';
      readonly message: string;
    } & ItemPart)
  | { readonly type: 'response.created'; readonly responseId: string; readonly outOfBand: boolean }
  | {
      readonly type: 'response.done';
      readonly responseId: string;
      readonly status: ResponseStatus;
      readonly error: ErrorBody | null;
    }
  | {
      readonly type: 'response.output_item.added';
      readonly responseId: string;
      readonly item: ConversationItem;
    }
  | {
      readonly type: 'response.output_item.done';
      readonly responseId: string;
      readonly item: ConversationItem;
    }
  | ({
      readonly type: 'response.output_audio.delta';
      /** Base64; decoded only where it is played. */
      readonly audio: string;
      readonly audioMs: number;
    } & ResponsePart)
  | ({ readonly type: 'response.output_audio.done' } & ResponsePart)
  | ({ readonly type: 'response.output_audio_transcript.delta'; readonly delta: string } & ResponsePart)
  | ({ readonly type: 'response.output_audio_transcript.done'; readonly text: string } & ResponsePart)
  | ({ readonly type: 'response.output_text.delta'; readonly delta: string } & ResponsePart)
  | ({ readonly type: 'response.output_text.done'; readonly text: string } & ResponsePart)
  | {
      readonly type: 'response.function_call_arguments.delta';
      readonly itemId: string;
      readonly responseId: string;
      readonly delta: string;
    }
  /** `name` is the event's own type, or empty when the frame was no event. */
  | { readonly type: 'other'; readonly name: string };

export interface SessionSettings {
  readonly type: 'realtime';
  readonly output_modalities?: readonly ['audio'] | readonly ['text'];
  readonly instructions?: string;
  readonly audio?: {
    readonly input?: {
      readonly format?: { readonly type: 'audio/pcm'; readonly rate: 24000 };
      readonly transcription?: { readonly model: string } | null;
      readonly turn_detection?: ServerVad | null;
    };
    readonly output?: {
      readonly format?: { readonly type: 'audio/pcm'; readonly rate: 24000 };
      readonly voice?: string;
    };
  };
}

export interface ServerVad {
  readonly type: 'server_vad';
  readonly threshold: number;
  readonly prefix_padding_ms: number;
  readonly silence_duration_ms: number;
  readonly create_response: boolean;
  readonly interrupt_response: boolean;
}

export type ClientEvent = { readonly event_id?: string } & (
  | { readonly type: 'session.update'; readonly session: SessionSettings }
  | { readonly type: 'input_audio_buffer.append'; readonly audio: string }
  | { readonly type: 'input_audio_buffer.commit' }
  | { readonly type: 'input_audio_buffer.clear' }
  | {
      readonly type: 'conversation.item.create';
      readonly item: {
        readonly id: string;
        readonly type: 'message';
        readonly role: 'user';
        readonly content: readonly [{ readonly type: 'input_text'; readonly text: string }];
      };
    }
  | {
      readonly type: 'conversation.item.truncate';
      readonly item_id: string;
      readonly content_index: number;
      readonly audio_end_ms: number;
    }
  | { readonly type: 'response.create' }
  | { readonly type: 'response.cancel' }
);

/** Read one frame. Never throws. */
export function parseServerEvent(text: string): ServerEvent {
  return readServerEvent(parseJson(text));
}

/** As `parseServerEvent`, of a frame that is parsed already. */
export function readServerEvent(value: unknown): ServerEvent {
  const event = asObject(value);
  const name = asString(event?.['type']);
  if (!event || name === undefined) return { type: 'other', name: '' };
  return READERS.get(BETA_NAMES.get(name) ?? name)?.(event) ?? { type: 'other', name };
}

const BETA_NAMES: ReadonlyMap<string, string> = new Map([
  ['conversation.item.created', 'conversation.item.added'],
  ['response.audio.delta', 'response.output_audio.delta'],
  ['response.audio.done', 'response.output_audio.done'],
  ['response.audio_transcript.delta', 'response.output_audio_transcript.delta'],
  ['response.audio_transcript.done', 'response.output_audio_transcript.done'],
  ['response.text.delta', 'response.output_text.delta'],
  ['response.text.done', 'response.output_text.done'],
]);

type Reader = (event: JsonObject) => ServerEvent | undefined;

/** A reader returns `undefined` for an event that lacks what its name promises. */
const READERS: ReadonlyMap<string, Reader> = new Map(
  Object.entries<Reader>({
    'session.created': () => ({ type: 'session.created' }),
    'session.updated': (event) => ({ type: 'session.updated', turnDetection: turnDetectionOf(event) }),
    error: (event) => ({ type: 'error', error: errorOf(event['error']) }),
    'input_audio_buffer.speech_started': (event) =>
      withItem(event, ({ itemId }) => ({ type: 'input_audio_buffer.speech_started', itemId })),
    'input_audio_buffer.speech_stopped': (event) =>
      withItem(event, ({ itemId }) => ({ type: 'input_audio_buffer.speech_stopped', itemId })),
    'input_audio_buffer.committed': (event) =>
      withItem(event, ({ itemId }) => ({
        type: 'input_audio_buffer.committed',
        itemId,
        previousItemId: asString(event['previous_item_id']) ?? null,
      })),
    'input_audio_buffer.cleared': () => ({ type: 'input_audio_buffer.cleared' }),
    'conversation.item.added': (event) => {
      const item = itemOf(event);
      const previousItemId = asString(event['previous_item_id']) ?? null;
      return item && { type: 'conversation.item.added', item, previousItemId };
    },
    'conversation.item.done': (event) => {
      const item = itemOf(event);
      return item && { type: 'conversation.item.done', item };
    },
    'conversation.item.deleted': (event) =>
      withItem(event, ({ itemId }) => ({ type: 'conversation.item.deleted', itemId })),
    'conversation.item.truncated': (event) =>
      withItem(event, ({ itemId }) => ({
        type: 'conversation.item.truncated',
        itemId,
        audioEndMs: asNumber(event['audio_end_ms']) ?? 0,
      })),
    'conversation.item.input_audio_transcription.delta': (event) =>
      withItem(event, (part) => ({
        type: 'conversation.item.input_audio_transcription.delta',
        ...part,
        delta: asString(event['delta']) ?? '',
      })),
    'conversation.item.input_audio_transcription.completed': (event) =>
      withItem(event, (part) => ({
        type: 'conversation.item.input_audio_transcription.completed',
        ...part,
        transcript: asString(event['transcript']) ?? '',
      })),
    'conversation.item.input_audio_transcription.failed': (event) =>
      withItem(event, (part) => ({
        type: 'conversation.item.input_audio_transcription.failed',
        ...part,
        message: errorOf(event['error']).message,
      })),
    'response.created': (event) => {
      const response = asObject(event['response']);
      const responseId = asString(response?.['id']);
      if (responseId === undefined) return undefined;
      // GA says `conversation_id: null` of a response that is no part of the conversation; beta has no such field.
      return { type: 'response.created', responseId, outOfBand: response?.['conversation_id'] === null };
    },
    'response.done': (event) => {
      const response = asObject(event['response']);
      const responseId = asString(response?.['id']);
      if (responseId === undefined) return undefined;
      const details = asObject(asObject(response?.['status_details'])?.['error']);
      return {
        type: 'response.done',
        responseId,
        status: responseStatus(response?.['status']),
        error: details ? errorOf(details) : null,
      };
    },
    'response.output_item.added': (event) => {
      const item = itemOf(event);
      return item && { type: 'response.output_item.added', responseId: responseIdOf(event), item };
    },
    'response.output_item.done': (event) => {
      const item = itemOf(event);
      return item && { type: 'response.output_item.done', responseId: responseIdOf(event), item };
    },
    'response.output_audio.delta': (event) =>
      withItem(event, (part) => {
        const audio = asString(event['delta']) ?? '';
        const audioMs = durationOfBase64(audio);
        return {
          type: 'response.output_audio.delta',
          ...part,
          responseId: responseIdOf(event),
          audio,
          audioMs,
        };
      }),
    'response.output_audio.done': (event) =>
      withItem(event, (part) => ({
        type: 'response.output_audio.done',
        ...part,
        responseId: responseIdOf(event),
      })),
    'response.output_audio_transcript.delta': (event) =>
      withItem(event, (part) => ({
        type: 'response.output_audio_transcript.delta',
        ...part,
        responseId: responseIdOf(event),
        delta: asString(event['delta']) ?? '',
      })),
    'response.output_audio_transcript.done': (event) =>
      withItem(event, (part) => ({
        type: 'response.output_audio_transcript.done',
        ...part,
        responseId: responseIdOf(event),
        text: asString(event['transcript']) ?? '',
      })),
    'response.output_text.delta': (event) =>
      withItem(event, (part) => ({
        type: 'response.output_text.delta',
        ...part,
        responseId: responseIdOf(event),
        delta: asString(event['delta']) ?? '',
      })),
    'response.output_text.done': (event) =>
      withItem(event, (part) => ({
        type: 'response.output_text.done',
        ...part,
        responseId: responseIdOf(event),
        text: asString(event['text']) ?? '',
      })),
    'response.function_call_arguments.delta': (event) =>
      withItem(event, ({ itemId }) => ({
        type: 'response.function_call_arguments.delta',
        itemId,
        responseId: responseIdOf(event),
        delta: asString(event['delta']) ?? '',
      })),
  }),
);

function withItem(event: JsonObject, read: (part: ItemPart) => ServerEvent): ServerEvent | undefined {
  const itemId = asString(event['item_id']);
  if (itemId === undefined) return undefined;
  return read({ itemId, contentIndex: asNumber(event['content_index']) ?? 0 });
}

function responseIdOf(event: JsonObject): string {
  return asString(event['response_id']) ?? '';
}

function itemOf(event: JsonObject): ConversationItem | undefined {
  const item = asObject(event['item']);
  const id = asString(item?.['id']);
  if (!item || id === undefined) return undefined;
  return {
    id,
    kind: kindOf(item['type']),
    role: roleOf(item['role']),
    status: asString(item['status']) ?? null,
    parts: (asList(item['content']) ?? []).map(partText),
    name: asString(item['name']) ?? '',
    arguments: asString(item['arguments']) ?? '',
  };
}

function kindOf(type: unknown): ConversationItem['kind'] {
  return type === 'message' || type === 'function_call' ? type : 'other';
}

function roleOf(role: unknown): ConversationItem['role'] {
  return role === 'user' || role === 'assistant' || role === 'system' ? role : null;
}

function partText(content: unknown): string {
  const part = asObject(content);
  return asString(part?.['text']) ?? asString(part?.['transcript']) ?? '';
}

function responseStatus(status: unknown): ResponseStatus {
  switch (status) {
    case 'in_progress':
    case 'cancelled':
    case 'failed':
    case 'incomplete':
      return status;
    default:
      return 'completed';
  }
}

function turnDetectionOf(event: JsonObject): TurnDetection | null {
  const session = asObject(event['session']);
  const input = asObject(asObject(session?.['audio'])?.['input']);
  // The beta session is flat.
  const found = asObject(input ? input['turn_detection'] : session?.['turn_detection']);
  if (!found) return null;
  return { type: asString(found['type']) ?? '', interruptsResponse: found['interrupt_response'] !== false };
}

function errorOf(value: unknown): ErrorBody {
  const error = asObject(value);
  return {
    type: asString(error?.['type']) ?? '',
    code: asString(error?.['code']) ?? '',
    message: asString(error?.['message']) ?? '',
    eventId: asString(error?.['event_id']) ?? null,
  };
}
