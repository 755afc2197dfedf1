import { describe, expect, it } from 'vitest';

import { readHttp, readSocket } from './browser-reading';

const error = (code: string, message = 'No.') => JSON.stringify({ error: { code, message, type: 't' } });
const event = (code: string, message = 'No.') =>
  JSON.stringify({ type: 'error', error: { code, message, type: 't' } });
const close = (code: number) => ({ code, reason: '', wasClean: true });

describe('an HTTP answer', () => {
  it.each([
    ['what was asked for', 200, false, '{"data":[]}', 'accepted', 'answered'],
    ['a refusal by the gateway', 401, true, error('invalid_api_key'), 'refused', 'refused'],
    ['a refusal by the provider', 403, false, '<html>', 'refused', 'refused'],
    ['an empty request that was read', 400, false, error('invalid_value'), 'accepted', 'request-read'],
    [
      'a key that is refused as a bad request',
      400,
      false,
      error('', 'API key not valid'),
      'refused',
      'refused',
    ],
    ['a gateway that does not know the path', 400, true, error('unknown_gateway'), 'unclear', 'nothing-said'],
    ['a bad request without words', 400, false, 'Bad Request', 'unclear', 'nothing-said'],
    ['a model that is not there', 404, false, error('model_not_found'), 'accepted', 'request-read'],
    ['a quota that is spent', 429, false, error('insufficient_quota'), 'accepted', 'request-read'],
    ['a server in trouble', 502, true, error('upstream_refused'), 'unclear', 'nothing-said'],
  ])('%s', (_, status, fromGateway, body, verdict, reason) => {
    expect(readHttp({ status, fromGateway, body }, true)).toEqual({ verdict, reason });
  });

  it('does not accept a bad request that had nothing in it', () => {
    const answer = { status: 400, fromGateway: false, body: error('invalid_value') };
    expect(readHttp(answer, false).verdict).toBe('unclear');
  });
});

describe('an answer on a WebSocket', () => {
  it.each([
    ['a session', '{"type":"session.created","session":{}}', null, 'accepted', 'session'],
    ['a refused secret', event('invalid_api_key'), close(3000), 'refused', 'refused'],
    ['a refused secret without a close', event('invalid_api_key'), null, 'refused', 'refused'],
    ['a close for the key without a word', '', close(1008), 'refused', 'refused'],
    ['a model that is not there', event('model_not_found'), close(4004), 'accepted', 'request-read'],
    ['a server in trouble', event('server_error'), close(1011), 'unclear', 'nothing-said'],
    ['another event', '{"type":"hello"}', null, 'unclear', 'nothing-said'],
    ['no JSON', 'hello', null, 'unclear', 'nothing-said'],
    ['a handshake that failed', '', close(1006), 'unreachable', 'no-answer'],
    ['silence', '', null, 'unreachable', 'no-answer'],
  ])('%s', (_, frame, ended, verdict, reason) => {
    expect(readSocket({ frame, close: ended })).toEqual({ verdict, reason });
  });
});
