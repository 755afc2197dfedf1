import { expect, test } from 'vitest';

import { readPocConfig } from './poc-config';

const KEPT = {
  accountId: 'f00d',
  gatewayId: 'voice',
  openaiKey: ' sk-poc-key ',
  cfAuthToken: 'cf-token',
  useAuthGateway: true,
  model: 'gpt-4o-mini',
  voice: 'alloy',
};

test('keys, switch and model are taken over; the ids only where they are those of this gateway', () => {
  const taken = readPocConfig(JSON.stringify(KEPT), 'local');
  expect(taken?.change).toEqual({
    provider: 'openai',
    provider_key: 'sk-poc-key',
    gateway_token: 'cf-token',
    use_authenticated_gateway: true,
    model: 'gpt-4o-mini',
  });
  expect(readPocConfig(JSON.stringify(KEPT), 'f00d')?.change.gateway_id).toBe('voice');
  const realtime = readPocConfig(JSON.stringify({ ...KEPT, model: 'gpt-realtime' }), '');
  expect([realtime?.change.realtime_model, realtime?.change.model]).toEqual(['gpt-realtime', undefined]);
});

test('what is empty changes nothing', () => {
  const taken = readPocConfig(
    '{"accountId": "", "gatewayId": "", "openaiKey": "", "useAuthGateway": true}',
    '',
  );
  expect(taken).toMatchObject({ change: { provider: 'openai' }, hasSecret: false });
  expect(Object.keys(taken?.change ?? {})).toEqual(['provider']);
});

test.each(['', 'null', '[]', '{"theme": "dark"}', '{"accountId"'])('%j is something else', (text) => {
  expect(readPocConfig(text, '')).toBeNull();
});
