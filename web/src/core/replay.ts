/** A conversation out of what the log keeps of an exchange. */

import { DEFAULT_SETTINGS, type ChatSettings } from './chat-settings';
import {
  addUser,
  appendDelta,
  beginAnswer,
  EMPTY_CONVERSATION,
  finishAnswer,
  setDraft,
  visible,
  type Conversation,
} from './conversation';
import { asList, asNumber, asObject, asString, parseJson, type JsonObject } from './narrow';
import { isPicturePart, pictureOf, type Picture } from './pictures';
import { SseParser } from './sse';

export interface Bodies {
  readonly request: string | null;
  readonly response: string | null;
}

export interface Replay {
  /** With the answer that was given; without one that can be read, the last question is the draft. */
  readonly conversation: Conversation;
  readonly settings: ChatSettings;
  readonly model: string;
}

/** Return null for what is no chat completion in OpenAI's form, or has lost its end. */
export function replayOf({ request, response }: Bodies): Replay | null {
  const body = asObject(parseJson(request ?? ''));
  const messages = asList(body?.['messages'])?.map(asObject);
  if (!body || !messages?.length) return null;
  const model = asString(body['model']) ?? '';
  let before = EMPTY_CONVERSATION;
  let conversation = EMPTY_CONVERSATION;
  let systemPrompt = '';
  for (const message of messages) {
    const said = message && contentOf(message);
    if (!said) return null;
    before = conversation;
    switch (message['role']) {
      case 'system':
      case 'developer':
        systemPrompt = [systemPrompt, said.text].filter(Boolean).join('\n\n');
        break;
      case 'user':
        conversation = addUser(conversation, said.text, said.pictures).conversation;
        break;
      case 'assistant':
        conversation = withAnswer(conversation, said.text, model);
        break;
      default:
        return null;
    }
  }
  const last = visible(conversation).at(-1)?.message;
  if (last?.role !== 'user') return null;
  const answer = answerIn(response ?? '');
  return {
    conversation: answer ? withAnswer(conversation, answer, model) : setDraft(before, last.text),
    settings: {
      ...DEFAULT_SETTINGS,
      systemPrompt,
      temperature: asNumber(body['temperature']) ?? null,
      maxTokens: asNumber(body['max_completion_tokens'] ?? body['max_tokens']) ?? null,
    },
    model,
  };
}

/** The text of an answer, whole or streamed; empty where it cannot be read. */
export function answerIn(response: string): string {
  const whole = asObject(parseJson(response));
  if (whole) return textOf(whole, 'message');
  const parser = new SseParser();
  return [...parser.feed(response), ...parser.end()]
    .map(({ data }) => textOf(asObject(parseJson(data)) ?? {}, 'delta'))
    .join('');
}

function textOf(completion: JsonObject, part: 'message' | 'delta'): string {
  const choice = asObject(asList(completion['choices'])?.[0]);
  return contentOf(asObject(choice?.[part]) ?? {})?.text ?? '';
}

function contentOf(message: JsonObject): { text: string; pictures: readonly Picture[] } | null {
  const content = message['content'] ?? '';
  if (typeof content === 'string') return { text: content, pictures: [] };
  const parts = asList(content) ?? [undefined];
  const known = parts.filter((part) => asObject(part)?.['type'] === 'text' || isPicturePart(part));
  if (known.length < parts.length) return null;
  const text = known.map((part) => asString(asObject(part)?.['text']) ?? '').join('');
  return { text, pictures: known.filter(isPicturePart).map(pictureOf) };
}

function withAnswer(conversation: Conversation, text: string, model: string): Conversation {
  const parent = visible(conversation).at(-1)?.message.id ?? null;
  const begun = beginAnswer(conversation, parent, model);
  const written = appendDelta(begun.conversation, begun.id, text);
  return finishAnswer(written, begun.id, null, null);
}
