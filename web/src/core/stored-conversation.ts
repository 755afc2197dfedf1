/** A conversation of the page as the server keeps it, and back. */

import type { components } from '../gen/api';
import type { ChatFailureKind } from './chat';
import {
  EMPTY_CONVERSATION,
  type Answer,
  type AnswerFailure,
  type AnswerMetrics,
  type Conversation,
  type Message,
} from './conversation';
import { asNumber, asObject, asString, type JsonObject } from './narrow';
import { isPicturePart, pictureOf, picturePart } from './pictures';

type Schemas = components['schemas'];
export type StoredConversation = Schemas['Conversation'];
/** As it is sent: what the server fills in by itself may be left out. */
export type StoredMessage = Pick<Schemas['Message'], 'id' | 'parent' | 'role' | 'text' | 'created_at'> &
  Partial<Schemas['Message']>;

/** Return a message as it is kept; `createdAt` in Unix seconds. An answer under way is kept as one that broke off. */
export function toStored(message: Message, createdAt: number): StoredMessage {
  const { id, parent, text } = message;
  if (message.role === 'user') {
    const parts = [...(message.pictures ?? []).map(picturePart), ...(message.parts ?? [])];
    return {
      id,
      parent,
      role: 'user',
      text,
      created_at: createdAt,
      ...(parts.length > 0 ? { parts: parts as unknown as Schemas['Message']['parts'] } : {}),
    };
  }
  const { metrics, failure, finishReason, status, model, provider, log } = message;
  return {
    id,
    parent,
    role: message.speaker ?? 'assistant',
    text,
    created_at: createdAt,
    model: message.speaker ? '' : model,
    provider,
    status: status === 'streaming' ? 'interrupted' : status,
    tokens_in: metrics?.inputTokens ?? null,
    tokens_out: metrics?.outputTokens ?? null,
    cost: log?.cost ?? null,
    log_id: log?.id ?? '',
    details: {
      ...(log?.cache ? { cache: log.cache } : {}),
      ...(finishReason === null ? {} : { finish_reason: finishReason }),
      ...(metrics ? { metrics } : {}),
      ...(failure ? { failure } : {}),
    },
  };
}

/** Return the whole tree with the kept branch shown. */
export function fromStored({ messages, head }: StoredConversation): Conversation {
  const byId = new Map(messages.map((message) => [message.id, read(message)]));
  const children = new Map<string | null, string[]>();
  for (const { id, parent } of messages) {
    const siblings = children.get(parent);
    if (siblings) siblings.push(id);
    else children.set(parent, [id]);
  }
  const selected = new Map<string | null, string>();
  for (let shown = byId.get(head); shown;) {
    selected.set(shown.parent, shown.id);
    shown = shown.parent === null ? undefined : byId.get(shown.parent);
  }
  return { ...EMPTY_CONVERSATION, messages: byId, children, selected };
}

function read(stored: StoredConversation['messages'][number]): Message {
  const { id, parent, role, text, status } = stored;
  if (role === 'user') {
    const pictures = stored.parts.filter(isPicturePart).map(pictureOf);
    const parts = stored.parts.filter((part) => !isPicturePart(part));
    return {
      id,
      parent,
      role,
      text,
      ...(pictures.length > 0 ? { pictures } : {}),
      ...(parts.length > 0 ? { parts } : {}),
    };
  }
  const details = asObject(stored.details) ?? {};
  const answer: Answer = {
    id,
    parent,
    role: 'assistant',
    text,
    model: stored.model,
    provider: stored.provider,
    status,
    finishReason: asString(details['finish_reason']) ?? null,
    metrics: metricsOf(asObject(details['metrics'])),
    log: stored.log_id
      ? { id: stored.log_id, cache: asString(details['cache']) ?? '', cost: stored.cost ?? null }
      : null,
    failure: status === 'complete' ? null : failureOf(asObject(details['failure'])),
  };
  return role === 'assistant' ? answer : { ...answer, speaker: role };
}

function metricsOf(kept: JsonObject | undefined): AnswerMetrics | null {
  const msTotal = asNumber(kept?.['msTotal']);
  if (!kept || msTotal === undefined) return null;
  return {
    msToFirstText: asNumber(kept['msToFirstText']) ?? null,
    msTotal,
    inputTokens: asNumber(kept['inputTokens']) ?? null,
    outputTokens: asNumber(kept['outputTokens']) ?? null,
    tokensPerSecond: asNumber(kept['tokensPerSecond']) ?? null,
  };
}

function failureOf(kept: JsonObject | undefined): AnswerFailure | null {
  const kind = KINDS.find((known) => known === kept?.['kind']);
  if (!kept || !kind) return null;
  return {
    kind,
    message: asString(kept['message']) ?? '',
    status: asNumber(kept['status']) ?? 0,
    code: asString(kept['code']) ?? '',
  };
}

const KINDS: readonly ChatFailureKind[] = ['refused', 'network', 'cut', 'stream-error', 'aborted'];
