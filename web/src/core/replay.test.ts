import { describe, expect, it } from 'vitest';

import { visible } from './conversation';
import { answerIn, replayOf } from './replay';

const PICTURE = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };
const REQUEST = {
  model: 'm1',
  temperature: 0.5,
  max_tokens: 9,
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Hi' },
    { role: 'user', content: [{ type: 'text', text: 'What is it?' }, PICTURE] },
  ],
};
const STREAM =
  'data: {"choices":[{"delta":{"content":"A "}}]}\n\ndata: {"choices":[{"delta":{"content":"cat"}}]}\n\n';

function said(request: object, response: string | null) {
  const replay = replayOf({ request: JSON.stringify(request), response });
  return replay && visible(replay.conversation).map(({ message }) => [message.role, message.text]);
}

describe('a replayed exchange', () => {
  it('has what was asked, with its settings and pictures, and the answer that was given', () => {
    const replay = replayOf({ request: JSON.stringify(REQUEST), response: STREAM });
    expect(said(REQUEST, STREAM)).toEqual([
      ['user', 'Hello'],
      ['assistant', 'Hi'],
      ['user', 'What is it?'],
      ['assistant', 'A cat'],
    ]);
    expect(replay?.settings).toMatchObject({ systemPrompt: 'Be brief.', temperature: 0.5, maxTokens: 9 });
    const question = replay ? visible(replay.conversation)[2]?.message : undefined;
    expect(question).toMatchObject({ pictures: [{ url: PICTURE.image_url.url }] });
  });

  it('has the last question as its draft where no answer can be read', () => {
    expect(said(REQUEST, null)).toEqual([
      ['user', 'Hello'],
      ['assistant', 'Hi'],
    ]);
    expect(replayOf({ request: JSON.stringify(REQUEST), response: '{' })?.conversation.draft).toBe(
      'What is it?',
    );
  });

  it.each([
    ['nothing that was kept', null],
    ['a body that lost its end', '{"messages": [{"role": "us'],
    ['no messages', '{"input": "x"}'],
    ['a role that cannot be asked again', '{"messages": [{"role": "tool", "content": "x"}]}'],
    [
      'a picture at an address',
      '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]}',
    ],
    ['nothing asked last', '{"messages": [{"role": "assistant", "content": "x"}]}'],
  ])('is refused for %s', (_, request) => {
    expect(replayOf({ request, response: null })).toBeNull();
  });
});

describe('the answer in a body', () => {
  it('is read whole or streamed', () => {
    expect(answerIn('{"choices": [{"message": {"content": "Yes"}}]}')).toBe('Yes');
    expect(answerIn(STREAM)).toBe('A cat');
    expect(answerIn('<html>')).toBe('');
  });
});
