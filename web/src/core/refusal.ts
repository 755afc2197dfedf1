/** What an API says of its own refusal, in whichever of the usual shapes. */

import { asList, asNumber, asObject, asString } from './narrow';

export interface ErrorWords {
  readonly message: string | undefined;
  /** For programs; empty where there is none. */
  readonly code: string;
}

/** Read the error objects of OpenAI, Anthropic, Google and Cloudflare. */
export function errorOf(body: unknown): ErrorWords {
  const answer = asObject(asList(body)?.[0] ?? body);
  const entries = asList(answer?.['error']) ?? asList(answer?.['errors']);
  const error = asObject(entries?.[0] ?? answer?.['error']) ?? answer;
  const codes = [error?.['code'], error?.['status'], error?.['type']];
  // A word says more than the number that the HTTP status has said already.
  const word = codes.map(asString).find(Boolean) ?? codes.map(asNumber).find((code) => code !== undefined);
  return {
    message: asString(error?.['message']) ?? asString(answer?.['error']),
    code: word?.toString() ?? '',
  };
}
