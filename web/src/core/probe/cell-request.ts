/** The request of a cell of the auth matrix, which people read as text, as one that can be copied and run. */

import { literally } from '../environment-text';
import type { CopiedRequest } from '../request-copy';

/** What stands for a secret. Nothing else of a request has a space between brackets. */
const PLACEHOLDER = /\[([a-z]+(?: [a-z]+)+)\]/g;
/** A place in which a client without a key writes nothing. */
const NO_KEY = 'no key';

/**
 * Read `METHOD URL`, a header a line, and behind an empty line the body. Each secret becomes a variable of its name:
 * `[provider key]` is `${PROVIDER_KEY}`. The body stays a text, so that no client library rewrites the request; how the
 * probe names itself is left out.
 */
export function requestOfCell(shown: string): CopiedRequest {
  const [head = '', ...body] = shown.split('\n\n');
  const [asked = '', ...lines] = head.split('\n');
  const [method = '', url = ''] = halves(asked, ' ');
  const headers: Record<string, string> = {};
  let subprotocols: string[] = [];
  for (const line of lines) {
    const [name, value] = halves(line, ': ');
    if (name === 'sec-websocket-protocol') subprotocols = value.split(', ').map(withVariables);
    else if (name !== 'user-agent') headers[name] = withVariables(value);
  }
  return {
    method,
    url: withVariables(url),
    headers,
    ...(subprotocols.length ? { subprotocols } : {}),
    ...(body.length ? { body: body.join('\n\n') } : {}),
  };
}

function withVariables(text: string): string {
  return literally(text).replace(PLACEHOLDER, (_, secret: string) =>
    secret === NO_KEY ? '' : `\${${secret.toUpperCase().replaceAll(' ', '_')}}`,
  );
}

function halves(text: string, separator: string): [string, string] {
  const place = text.indexOf(separator);
  return place < 0 ? [text, ''] : [text.slice(0, place), text.slice(place + separator.length)];
}
