import { describe, expect, it } from 'vitest';

import {
  addUser,
  appendDelta,
  beginAnswer,
  EMPTY_CONVERSATION,
  failAnswer,
  finishAnswer,
  historyFor,
  logAnswer,
  selectSibling,
  visible,
  type Conversation,
} from './conversation';
import { fromStored, toStored, type StoredConversation } from './stored-conversation';

const METRICS = { msToFirstText: 10, msTotal: 50, inputTokens: 3, outputTokens: 4, tokensPerSecond: 100 };

type Kept = StoredConversation['messages'][number];

/** As the server answers: with what was left out filled in. */
function kept(conversation: Conversation, head: string): StoredConversation {
  const messages = [...conversation.messages.values()].map((message): Kept => ({
    parts: [],
    model: '',
    provider: '',
    status: 'complete',
    tokens_in: null,
    tokens_out: null,
    cost: null,
    log_id: '',
    session_id: '',
    details: {},
    ...toStored(message, 7),
  }));
  return {
    id: 'c',
    kind: 'text',
    title: '',
    model: '',
    provider: '',
    settings: {},
    head,
    pinned: false,
    archived: false,
    origin: null,
    created_at: 1,
    changed_at: 2,
    messages,
  };
}

function branched() {
  const question = addUser(EMPTY_CONVERSATION, 'Hi', [{ url: 'data:image/png;base64,AAAA', name: 'A cat' }]);
  const first = beginAnswer(question.conversation, question.id, 'm1', 'openai');
  const text = finishAnswer(appendDelta(first.conversation, first.id, 'Hello'), first.id, 'stop', METRICS);
  const written = logAnswer(text, first.id, { id: '01J', cache: 'HIT', cost: 0.25 });
  const second = beginAnswer(written, question.id, 'm2');
  const failure = { kind: 'refused', message: 'No.', status: 429, code: 'slow_down' } as const;
  return {
    conversation: failAnswer(second.conversation, second.id, failure),
    first: first.id,
    second: second.id,
  };
}

describe('a conversation that was stored', () => {
  it('comes back with every branch, measure and failure', () => {
    const { conversation, second } = branched();
    const back = fromStored(JSON.parse(JSON.stringify(kept(conversation, second))) as StoredConversation);
    expect([...back.messages.values()]).toEqual([...conversation.messages.values()]);
    expect(visible(back)).toEqual(visible(conversation));
  });

  it('shows the branch that was shown', () => {
    const { conversation, first, second } = branched();
    const back = fromStored(kept(conversation, first));
    expect(visible(back)).toEqual(visible(selectSibling(conversation, second, -1)));
  });

  it('keeps what is no picture that can be shown as it was', () => {
    const stored = kept(addUser(EMPTY_CONVERSATION, 'Hi').conversation, '');
    const parts = [{ type: 'image_asset_pointer', name: 'cat.png' }] as unknown as Kept['parts'];
    const back = fromStored({ ...stored, messages: stored.messages.map((one) => ({ ...one, parts })) });
    expect([...back.messages.values()].map((message) => toStored(message, 7).parts)).toEqual([parts]);
  });

  it('keeps an answer under way as one that broke off', () => {
    const question = addUser(EMPTY_CONVERSATION, 'Hi');
    const { conversation, id } = beginAnswer(question.conversation, question.id, 'm');
    const back = fromStored(kept(appendDelta(conversation, id, 'Hel'), id));
    expect(visible(back).at(-1)?.message).toMatchObject({ text: 'Hel', status: 'interrupted' });
  });

  it('tells the model what a system said, and not that a model said it', () => {
    const stored = kept(branched().conversation, '');
    const [question, answer] = stored.messages;
    if (!question || !answer) throw new Error('two messages were stored');
    const back = fromStored({ ...stored, messages: [{ ...question, role: 'system' }, answer] });
    expect(historyFor(back, answer.id)).toEqual([{ role: 'system', content: 'Hi' }]);
    expect([...back.messages.values()].map((message) => toStored(message, 7).role)).toEqual([
      'system',
      'assistant',
    ]);
  });
});
