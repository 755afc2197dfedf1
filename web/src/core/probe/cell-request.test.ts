import { describe, expect, it } from 'vitest';

import { asJavaScript, asPython, variablesOf } from '../request-copy';
import { requestOfCell } from './cell-request';

describe('the request of a cell', () => {
  it('names a variable for each secret, in any header, and does not name the probe', () => {
    const request = requestOfCell(
      [
        'GET https://gw/v1/a/g/openai/models',
        'cf-aig-authorization: Bearer [gateway key]',
        'authorization: Bearer [provider key]',
        'api-key: [wrong key]',
        'user-agent: trunkline-probe/1.0',
        'anthropic-version: 2023-06-01',
      ].join('\n'),
    );
    expect(request).toEqual({
      method: 'GET',
      url: 'https://gw/v1/a/g/openai/models',
      headers: {
        'cf-aig-authorization': 'Bearer ${GATEWAY_KEY}',
        authorization: 'Bearer ${PROVIDER_KEY}',
        'api-key': '${WRONG_KEY}',
        'anthropic-version': '2023-06-01',
      },
    });
    expect(variablesOf(request)).toEqual(['GATEWAY_KEY', 'PROVIDER_KEY', 'WRONG_KEY']);
  });

  it('has the sub-protocols of a socket, and the secret of its query', () => {
    const request = requestOfCell(
      'GET wss://gw/v1/a/g/openai?model=m&key=[client secret]&v=1\n' +
        'sec-websocket-protocol: realtime, openai-insecure-api-key.[unknown secret]',
    );
    expect(request).toEqual({
      method: 'GET',
      url: 'wss://gw/v1/a/g/openai?model=m&key=${CLIENT_SECRET}&v=1',
      headers: {},
      subprotocols: ['realtime', 'openai-insecure-api-key.${UNKNOWN_SECRET}'],
    });
  });

  it('sends its body as it was sent, and by no client library, which would add a key', () => {
    const body = '{"model": "local", "messages": [], "stream": true}';
    const request = requestOfCell(
      `POST http://gw/v1/a/g/openai/chat/completions\ncontent-type: application/json\n\n${body}`,
    );
    expect(request).toMatchObject({ method: 'POST', headers: { 'content-type': 'application/json' }, body });
    expect(asPython(request)).not.toContain('OpenAI');
    expect(asJavaScript(request)).not.toContain('OpenAI');
  });

  it('reads no variable that only an address names, and takes no host for a secret', () => {
    const request = requestOfCell(
      'GET http://[::1]:8787/${HOME}/[x]?a=${PATH}\nauthorization: Bearer [no key]',
    );
    expect(variablesOf(request)).toEqual([]);
    expect(asPython(request)).toContain('http://[::1]:8787/$%7BHOME%7D/[x]?a=${PATH}');
    expect(asPython(request)).not.toContain('authorization');
  });
});
