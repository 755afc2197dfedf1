import { describe, expect, it } from 'vitest';

import {
  addUser,
  appendDelta,
  beginAnswer,
  continueAnswer,
  editUser,
  EMPTY_CONVERSATION,
  failAnswer,
  finishAnswer,
  historyFor,
  historyToContinue,
  laterBeginning,
  select,
  selectSibling,
  setDraft,
  visible,
  type AnswerMetrics,
  type Conversation,
} from './conversation';

const METRICS: AnswerMetrics = {
  msToFirstText: 10,
  msTotal: 50,
  inputTokens: 3,
  outputTokens: 4,
  tokensPerSecond: 100,
};

function answered(conversation: Conversation, questionId: string, text: string) {
  const begun = beginAnswer(conversation, questionId, 'local');
  const written = appendDelta(begun.conversation, begun.id, text);
  return { conversation: finishAnswer(written, begun.id, 'stop', METRICS), id: begun.id };
}

function thread(conversation: Conversation): string[] {
  return visible(conversation).map(
    ({ message, position, siblings }) => `${message.text} ${position}/${siblings}`,
  );
}

function firstTurn() {
  const question = addUser(EMPTY_CONVERSATION, 'Hi');
  const answer = answered(question.conversation, question.id, 'Hello');
  return { conversation: answer.conversation, question: question.id, answer: answer.id };
}

describe('a conversation', () => {
  it('grows by questions and answers', () => {
    const { conversation, answer } = firstTurn();
    const next = addUser(conversation, 'More');
    expect(thread(next.conversation)).toEqual(['Hi 1/1', 'Hello 1/1', 'More 1/1']);
    expect(next.conversation.messages.get(next.id)?.parent).toBe(answer);
  });

  it('keeps an answer that is asked for again beside the first one and shows the new one', () => {
    const { conversation, question, answer } = firstTurn();
    const again = answered(conversation, question, 'Howdy');
    expect(thread(again.conversation)).toEqual(['Hi 1/1', 'Howdy 2/2']);
    const back = selectSibling(again.conversation, again.id, -1);
    expect(thread(back)).toEqual(['Hi 1/1', 'Hello 1/2']);
    expect(selectSibling(back, answer, -1)).toBe(back);
  });

  it('branches where a question is edited and finds the old branch again', () => {
    const { conversation, question } = firstTurn();
    const edited = editUser(conversation, question, 'Hey');
    expect(thread(edited.conversation)).toEqual(['Hey 2/2']);
    expect(thread(selectSibling(edited.conversation, edited.id, -1))).toEqual(['Hi 1/2', 'Hello 1/1']);
  });

  it('never changes the conversation it was given', () => {
    const { conversation, answer, question } = firstTurn();
    const before = thread(conversation);
    appendDelta(conversation, answer, '!');
    beginAnswer(conversation, question, 'local');
    failAnswer(conversation, answer, { kind: 'cut', message: '', status: 200, code: '' });
    expect(thread(conversation)).toEqual(before);
  });

  it('keeps the text of an answer that breaks off and lets it go on', () => {
    const question = addUser(EMPTY_CONVERSATION, 'Count');
    const begun = beginAnswer(question.conversation, question.id, 'local');
    const cut = failAnswer(appendDelta(begun.conversation, begun.id, 'one'), begun.id, {
      kind: 'cut',
      message: 'broke off',
      status: 200,
      code: '',
    });
    expect(cut.messages.get(begun.id)).toMatchObject({ text: 'one', status: 'interrupted' });
    expect(historyToContinue(cut, begun.id, 'Go on.')).toEqual([
      { role: 'user', content: 'Count' },
      { role: 'assistant', content: 'one' },
      { role: 'user', content: 'Go on.' },
    ]);
    const resumed = appendDelta(continueAnswer(cut, begun.id), begun.id, ', two');
    expect(resumed.messages.get(begun.id)).toMatchObject({
      text: 'one, two',
      status: 'streaming',
      failure: null,
    });
  });

  it.each([
    ['aborted', 'stopped'],
    ['cut', 'interrupted'],
    ['refused', 'failed'],
    ['network', 'failed'],
    ['stream-error', 'failed'],
  ] as const)('ends an answer after %s as %s', (kind, status) => {
    const { conversation, answer } = firstTurn();
    const failed = failAnswer(conversation, answer, { kind, message: '', status: 0, code: '' });
    expect(failed.messages.get(answer)).toMatchObject({ status });
  });

  it('sends the visible path that leads to an answer, without answers that have no text', () => {
    const { conversation } = firstTurn();
    const second = addUser(conversation, 'Two');
    const empty = beginAnswer(second.conversation, second.id, 'local');
    const failed = failAnswer(empty.conversation, empty.id, {
      kind: 'network',
      message: '',
      status: 0,
      code: '',
    });
    const third = addUser(failed, 'Three');
    const last = beginAnswer(third.conversation, third.id, 'local');
    expect(historyFor(last.conversation, last.id, 'Be brief.')).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello' },
      { role: 'user', content: 'Two' },
      { role: 'user', content: 'Three' },
    ]);
  });

  it('sends pictures beside the words, also when the words are changed', () => {
    const picture = { url: 'data:image/png;base64,AAAA', name: 'A cat' };
    const sent = { type: 'image_url', image_url: { url: picture.url } };
    const question = addUser(EMPTY_CONVERSATION, '', [picture]);
    const alone = beginAnswer(question.conversation, question.id, 'm');
    expect(historyFor(alone.conversation, alone.id)).toEqual([{ role: 'user', content: [sent] }]);
    const edited = editUser(alone.conversation, question.id, 'What is it?');
    const answer = beginAnswer(edited.conversation, edited.id, 'm');
    expect(historyFor(answer.conversation, answer.id)).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'What is it?' }, sent] },
    ]);
  });

  it('leaves out the older half of the turns when it is too long, and then again', () => {
    let conversation = EMPTY_CONVERSATION;
    let last = '';
    for (const text of ['1', '2', '3', '4']) {
      const question = addUser(conversation, text);
      ({ conversation, id: last } = answered(question.conversation, question.id, `to ${text}`));
    }
    const from = laterBeginning(conversation, last) ?? '';
    const texts = (begin: string) =>
      historyFor(conversation, last, 'Be brief.', begin).map(({ content }) => content);
    expect(texts(from)).toEqual(['Be brief.', '3', 'to 3', '4']);
    const later = laterBeginning(conversation, last, from) ?? '';
    expect(texts(later)).toEqual(['Be brief.', '4']);
    expect(laterBeginning(conversation, last, later)).toBeNull();
    expect(texts('on another branch')).toHaveLength(8);
  });

  it('shows any of several siblings', () => {
    const { conversation, question, answer } = firstTurn();
    const second = beginAnswer(conversation, question, 'other');
    expect(thread(select(second.conversation, answer))).toEqual(['Hi 1/1', 'Hello 1/2']);
    expect(thread(select(second.conversation, second.id))).toEqual(['Hi 1/1', ' 2/2']);
  });

  it('keeps a draft until it is sent', () => {
    const drafted = setDraft(EMPTY_CONVERSATION, 'half a thou');
    expect(drafted.draft).toBe('half a thou');
    expect(addUser(drafted, 'half a thought').conversation.draft).toBe('');
  });

  it('refuses messages it does not have and questions in place of answers', () => {
    const { conversation, question } = firstTurn();
    expect(() => appendDelta(conversation, question, 'x')).toThrow(RangeError);
    expect(() => beginAnswer(conversation, 'nobody', 'local')).toThrow(RangeError);
  });
});
