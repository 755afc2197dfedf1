import { expect, it } from 'vitest';

import { isTooLong } from './context-length';

const OPENAI =
  "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.";

it.each([
  ['OpenAI', 400, 'context_length_exceeded', OPENAI],
  ['Anthropic', 400, 'invalid_request_error', 'prompt is too long: 208310 tokens > 200000 maximum'],
  [
    'Google',
    400,
    'INVALID_ARGUMENT',
    'The input token count (1300000) exceeds the maximum number of tokens allowed (1048576).',
  ],
  [
    'Mistral',
    400,
    '3051',
    'Prompt contains 40000 tokens, too large for model with 32768 maximum context length',
  ],
  ['Groq', 413, 'request_too_large', 'Request Entity Too Large'],
  ['llama.cpp', 400, 'exceed_context_size_error', 'the request exceeds the available context size'],
  ['Bedrock', 400, 'ValidationException', 'Input is too long for requested model.'],
  ['Cohere', 400, '', 'too many tokens: total number of tokens in the prompt cannot exceed 128000'],
])('recognises how %s says that a conversation is too long', (_, status, code, message) => {
  expect(isTooLong({ status, code, message })).toBe(true);
});

it.each([
  [
    429,
    'rate_limit_exceeded',
    'Request too large for gpt-4o: limit 30000 tokens per minute, requested 40000.',
  ],
  [401, 'invalid_api_key', 'Incorrect API key provided.'],
  [400, 'invalid_request_error', "'temperature' must be between 0 and 2."],
  [0, '', 'The gateway does not answer.'],
])('takes %i %s for something else', (status, code, message) => {
  expect(isTooLong({ status, code, message })).toBe(false);
});
