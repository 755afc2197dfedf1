/**
 * A text conversation as a tree: asking again or editing makes a sibling, and one path through the tree is visible.
 * Every function returns a new conversation and leaves the one it was given as it was.
 */

import type { ChatFailureKind, ChatMessage } from './chat';
import { newId } from './ids';

/** What one answer took. Durations in milliseconds from sending the request. */
export interface AnswerMetrics {
  readonly msToFirstText: number | null;
  readonly msTotal: number;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  /** Output tokens a second, counted from the first text. */
  readonly tokensPerSecond: number | null;
}

export interface AnswerFailure {
  readonly kind: ChatFailureKind;
  readonly message: string;
  readonly status: number;
  readonly code: string;
  readonly retryAfterSeconds?: number;
}

export interface UserMessage {
  readonly id: string;
  readonly parent: string | null;
  readonly role: 'user';
  readonly text: string;
}

/** `stopped`: by the user; `interrupted`: the stream was cut and the text so far is kept; `failed`: an error. */
export type AnswerStatus = 'streaming' | 'complete' | 'stopped' | 'interrupted' | 'failed';

export interface Answer {
  readonly id: string;
  /** A question, but in conversations from elsewhere: there it may be another answer, or null. */
  readonly parent: string | null;
  readonly role: 'assistant';
  /** Who said it, in conversations from elsewhere, where it was no model. */
  readonly speaker?: 'system' | 'tool';
  readonly text: string;
  readonly model: string;
  readonly status: AnswerStatus;
  /** Why the model stopped, such as `stop` or `length`. */
  readonly finishReason: string | null;
  readonly metrics: AnswerMetrics | null;
  readonly failure: AnswerFailure | null;
}

export type Message = UserMessage | Answer;

export interface Conversation {
  readonly messages: ReadonlyMap<string, Message>;
  /** Ids of the siblings below each message; below `null` are the first questions. */
  readonly children: ReadonlyMap<string | null, readonly string[]>;
  /** Which sibling is visible, where it is not the newest. */
  readonly selected: ReadonlyMap<string | null, string>;
  /** What is typed but not sent. */
  readonly draft: string;
}

/** One visible message and its place among its siblings: `position` of `siblings`, counted from 1. */
export interface ThreadEntry {
  readonly message: Message;
  readonly position: number;
  readonly siblings: number;
}

export interface Added {
  readonly conversation: Conversation;
  readonly id: string;
}

export const EMPTY_CONVERSATION: Conversation = {
  messages: new Map(),
  children: new Map(),
  selected: new Map(),
  draft: '',
};

/** Put a question at the end of the visible thread and clear the draft. */
export function addUser(conversation: Conversation, text: string): Added {
  const last = visible(conversation).at(-1)?.message.id ?? null;
  return addUserBelow({ ...conversation, draft: '' }, last, text);
}

/** Ask a question anew in other words: the new wording stands beside the old one. */
export function editUser(conversation: Conversation, id: string, text: string): Added {
  return addUserBelow(conversation, required(conversation, id).parent, text);
}

/** Open an answer below a question; when it has answers already, the new one stands beside them and is shown. */
export function beginAnswer(conversation: Conversation, parent: string | null, model: string): Added {
  const id = newId();
  const answer: Answer = {
    id,
    parent: parent === null ? null : required(conversation, parent).id,
    role: 'assistant',
    text: '',
    model,
    status: 'streaming',
    finishReason: null,
    metrics: null,
    failure: null,
  };
  return { conversation: withMessage(conversation, answer), id };
}

/** Let an interrupted or stopped answer go on: further text is appended to it. */
export function continueAnswer(conversation: Conversation, id: string): Conversation {
  return withAnswer(conversation, id, {
    status: 'streaming',
    failure: null,
    metrics: null,
    finishReason: null,
  });
}

export function appendDelta(conversation: Conversation, id: string, text: string): Conversation {
  return withAnswer(conversation, id, { text: answerOf(conversation, id).text + text });
}

export function finishAnswer(
  conversation: Conversation,
  id: string,
  finishReason: string | null,
  metrics: AnswerMetrics,
): Conversation {
  return withAnswer(conversation, id, { status: 'complete', finishReason, metrics });
}

/** End an answer that did not get through. Text that has arrived stays. */
export function failAnswer(
  conversation: Conversation,
  id: string,
  failure: AnswerFailure,
  metrics: AnswerMetrics | null = null,
): Conversation {
  return withAnswer(conversation, id, { status: statusAfter(failure.kind), failure, metrics });
}

/** Show another sibling: `step` 1 is the next, -1 the previous one. Stays where it is at either end. */
export function selectSibling(conversation: Conversation, id: string, step: number): Conversation {
  const { parent } = required(conversation, id);
  const siblings = conversation.children.get(parent) ?? [];
  const wanted = siblings[siblings.indexOf(id) + step];
  if (wanted === undefined) return conversation;
  return { ...conversation, selected: new Map(conversation.selected).set(parent, wanted) };
}

export function setDraft(conversation: Conversation, draft: string): Conversation {
  return { ...conversation, draft };
}

/** Return the messages on the visible path, oldest first. */
export function visible(conversation: Conversation): readonly ThreadEntry[] {
  const thread: ThreadEntry[] = [];
  for (let parent: string | null = null; ;) {
    const siblings: readonly string[] = conversation.children.get(parent) ?? [];
    const id: string | undefined = conversation.selected.get(parent) ?? siblings.at(-1);
    if (id === undefined) return thread;
    const message = required(conversation, id);
    thread.push({ message, position: siblings.indexOf(id) + 1, siblings: siblings.length });
    parent = id;
  }
}

/** What to send for the answer `answerId`: the system prompt, if any, and the path that leads to the answer. */
export function historyFor(conversation: Conversation, answerId: string, systemPrompt = ''): ChatMessage[] {
  const history: ChatMessage[] = [];
  for (let id: string | null = answerOf(conversation, answerId).parent; id !== null;) {
    const message: Message = required(conversation, id);
    // An answer without text has nothing to tell the model, and several providers refuse an empty message.
    if (message.text !== '') history.unshift({ role: roleFor(message), content: message.text });
    id = message.parent;
  }
  return systemPrompt.trim() === '' ? history : [{ role: 'system', content: systemPrompt }, ...history];
}

/** As `historyFor`, with the text so far and the request to go on from there. */
export function historyToContinue(
  conversation: Conversation,
  answerId: string,
  request: string,
  systemPrompt = '',
): ChatMessage[] {
  return [
    ...historyFor(conversation, answerId, systemPrompt),
    { role: 'assistant', content: answerOf(conversation, answerId).text },
    { role: 'user', content: request },
  ];
}

/** No provider takes the answer of a tool without the call that it belongs to. */
function roleFor(message: Message): ChatMessage['role'] {
  return message.role === 'assistant' && message.speaker === 'system' ? 'system' : message.role;
}

function addUserBelow(conversation: Conversation, parent: string | null, text: string): Added {
  const id = newId();
  return { conversation: withMessage(conversation, { id, parent, role: 'user', text }), id };
}

function withMessage(conversation: Conversation, message: Message): Conversation {
  const siblings = conversation.children.get(message.parent) ?? [];
  return {
    ...conversation,
    messages: new Map(conversation.messages).set(message.id, message),
    children: new Map(conversation.children).set(message.parent, [...siblings, message.id]),
    selected: new Map(conversation.selected).set(message.parent, message.id),
  };
}

function withAnswer(conversation: Conversation, id: string, change: Partial<Answer>): Conversation {
  const changed: Answer = { ...answerOf(conversation, id), ...change };
  return { ...conversation, messages: new Map(conversation.messages).set(id, changed) };
}

function answerOf(conversation: Conversation, id: string): Answer {
  const message = required(conversation, id);
  if (message.role !== 'assistant') throw new RangeError(`Message ${id} is a question, not an answer.`);
  return message;
}

function required(conversation: Conversation, id: string): Message {
  const message = conversation.messages.get(id);
  if (!message) throw new RangeError(`The conversation has no message ${id}.`);
  return message;
}

function statusAfter(kind: ChatFailureKind): AnswerStatus {
  switch (kind) {
    case 'aborted':
      return 'stopped';
    case 'cut':
      return 'interrupted';
    case 'refused':
    case 'network':
    case 'stream-error':
      return 'failed';
  }
}
