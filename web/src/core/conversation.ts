/**
 * A text conversation as a tree: asking again or editing makes a sibling, and one path through the tree is visible.
 * Every function returns a new conversation and leaves the one it was given as it was.
 */

import type { ChatFailureKind, ChatMessage } from './chat';
import { newId } from './ids';
import type { Picture } from './pictures';

/** Where the gateway tells of an exchange, and what it said of it. */
export interface AnswerLog {
  /** The id of its row in the log; empty where none is kept. */
  readonly id: string;
  /** `HIT` or `MISS`; empty where nothing was looked up. */
  readonly cache: string;
  /** US dollars; null where nobody knows. */
  readonly cost: number | null;
}

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
  readonly pictures?: readonly Picture[];
  /** What came from elsewhere and is not shown; kept as it is. */
  readonly parts?: readonly Readonly<Record<string, unknown>>[];
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
  /** Who was asked: the slug of a provider, or `compat`; empty where nobody knows. */
  readonly provider: string;
  readonly status: AnswerStatus;
  /** Why the model stopped, such as `stop` or `length`. */
  readonly finishReason: string | null;
  readonly metrics: AnswerMetrics | null;
  readonly log: AnswerLog | null;
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
export function addUser(conversation: Conversation, text: string, pictures: readonly Picture[] = []): Added {
  const last = visible(conversation).at(-1)?.message.id ?? null;
  return addUserBelow({ ...conversation, draft: '' }, last, text, pictures);
}

/** Ask a question anew in other words, with its pictures: the new wording stands beside the old one. */
export function editUser(conversation: Conversation, id: string, text: string): Added {
  const question = required(conversation, id);
  const pictures = question.role === 'user' ? question.pictures : [];
  return addUserBelow(conversation, question.parent, text, pictures);
}

/** Open an answer below a question; when it has answers already, the new one stands beside them and is shown. */
export function beginAnswer(
  conversation: Conversation,
  parent: string | null,
  model: string,
  provider = '',
): Added {
  const id = newId();
  const answer: Answer = {
    id,
    parent: parent === null ? null : required(conversation, parent).id,
    role: 'assistant',
    text: '',
    model,
    provider,
    status: 'streaming',
    finishReason: null,
    metrics: null,
    log: null,
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
    log: null,
    finishReason: null,
  });
}

/** Say what the gateway has told of an answer. */
export function logAnswer(conversation: Conversation, id: string, log: AnswerLog): Conversation {
  return withAnswer(conversation, id, { log });
}

export function appendDelta(conversation: Conversation, id: string, text: string): Conversation {
  return withAnswer(conversation, id, { text: answerOf(conversation, id).text + text });
}

export function finishAnswer(
  conversation: Conversation,
  id: string,
  finishReason: string | null,
  metrics: AnswerMetrics | null,
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

/** Show a message in place of its siblings. */
export function select(conversation: Conversation, id: string): Conversation {
  const { parent } = required(conversation, id);
  return { ...conversation, selected: new Map(conversation.selected).set(parent, id) };
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

/**
 * What to send for the answer `answerId`: the system prompt, if any, and the path that leads to the answer, without what
 * comes before the message `from` where that is on it.
 */
export function historyFor(
  conversation: Conversation,
  answerId: string,
  systemPrompt = '',
  from = '',
): ChatMessage[] {
  return historyBelow(conversation, answerOf(conversation, answerId).parent, systemPrompt, from);
}

/** As `historyFor`, for an answer to the message `parent` that is still to come. */
export function historyBelow(
  conversation: Conversation,
  parent: string | null,
  systemPrompt = '',
  from = '',
): ChatMessage[] {
  const path = pathTo(conversation, parent);
  const history = path
    .slice(
      Math.max(
        0,
        path.findIndex(({ id }) => id === from),
      ),
    )
    // An answer without text has nothing to tell the model, and several providers refuse an empty message.
    .filter((message) => message.text !== '' || (message.role === 'user' && message.pictures?.length))
    .map((message): ChatMessage => ({ role: roleFor(message), content: contentOf(message) }));
  return systemPrompt.trim() === '' ? history : [{ role: 'system', content: systemPrompt }, ...history];
}

/**
 * The question to begin at when what was sent for an answer was too long: the older half of the turns is left out. Null
 * where there is only one.
 */
export function laterBeginning(conversation: Conversation, answerId: string, from = ''): string | null {
  const path = pathTo(conversation, answerOf(conversation, answerId).parent);
  const questions = path
    .slice(
      Math.max(
        0,
        path.findIndex(({ id }) => id === from),
      ),
    )
    .filter(({ role }) => role === 'user');
  return questions.length < 2 ? null : (questions[Math.ceil(questions.length / 2)]?.id ?? null);
}

/** As `historyFor`, with the text so far and the request to go on from there. */
export function historyToContinue(
  conversation: Conversation,
  answerId: string,
  request: string,
  systemPrompt = '',
  from = '',
): ChatMessage[] {
  return [
    ...historyFor(conversation, answerId, systemPrompt, from),
    { role: 'assistant', content: answerOf(conversation, answerId).text },
    { role: 'user', content: request },
  ];
}

/** No provider takes the answer of a tool without the call that it belongs to. */
function roleFor(message: Message): ChatMessage['role'] {
  return message.role === 'assistant' && message.speaker === 'system' ? 'system' : message.role;
}

function contentOf(message: Message): ChatMessage['content'] {
  if (message.role !== 'user' || !message.pictures?.length) return message.text;
  const shown = message.pictures.map(({ url }) => ({ type: 'image_url', image_url: { url } }) as const);
  return message.text === '' ? shown : [{ type: 'text', text: message.text }, ...shown];
}

/** The messages that lead to `last`, and that one, oldest first. */
function pathTo(conversation: Conversation, last: string | null): Message[] {
  const path: Message[] = [];
  for (let id = last; id !== null;) {
    const message: Message = required(conversation, id);
    path.push(message);
    id = message.parent;
  }
  return path.reverse();
}

function addUserBelow(
  conversation: Conversation,
  parent: string | null,
  text: string,
  pictures: readonly Picture[] = [],
): Added {
  const id = newId();
  const question: UserMessage = {
    id,
    parent,
    role: 'user',
    text,
    ...(pictures.length > 0 ? { pictures } : {}),
  };
  return { conversation: withMessage(conversation, question), id };
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
