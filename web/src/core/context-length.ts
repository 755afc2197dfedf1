/** Whether a refusal says that a conversation is longer than the model's memory: each provider says it in its own way. */

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

const CODES =
  /context_length|context_window|exceed_context|string_above_max_length|request_too_large|prompt_too_long/;
const SENTENCES = new RegExp(
  [
    "maximum context length|max(imum)? (allowed )?(number of )?(input )?tokens|model's context|context (window|size|limit)",
    '(prompt|input|request|message)s?( is| are)? too (long|large)|reduce the length|too many (input )?tokens',
    'input (is )?too long|token count .*exceeds|exceeds? .*(context|token limit)',
  ].join('|'),
  'i',
);

export function isTooLong({ status, code, message }: Refusal): boolean {
  if (CODES.test(code)) return true;
  // A limit of tokens a minute is told by 429 in much the same words, and waiting helps there.
  return [400, 413, 422].includes(status) && SENTENCES.test(message);
}
