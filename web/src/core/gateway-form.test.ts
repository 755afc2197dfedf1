import { describe, expect, it } from 'vitest';

import type { GatewayView } from './api/gateways';
import { gatewayChange, gatewayFaults, gatewayFields, pricesIn, pricesText } from './gateway-form';

const view: GatewayView = {
  id: 'team',
  authenticated: true,
  stored_key_wins: false,
  client_secrets: 'brokered',
  allowed_origins: ['https://app.example.com'],
  realtime: {
    limits: { max_duration: 1_800, budget: '5/day' },
    beta_bridge: true,
    resume: false,
    fallbacks: [],
    record: false,
  },
  logging: {
    collect: true,
    payloads: false,
    redact_pii: false,
    max_rows: 1_000,
    max_age_days: null,
    strategy: 'DELETE_OLDEST',
    usage_in_streams: false,
    custom_costs: [
      { model: 'gpt-4o*', provider: 'openai', prices: { per_token_in: 2.5e-6, per_token_out: 1e-5 } },
    ],
  },
  control: {
    cache: { ttl: 600, max_bytes: 10_485_760, invalidate_on_update: false, semantic: 0 },
    limits: [],
    attempts: {
      max_attempts: 1,
      delay: 0,
      backoff: 'constant',
      timeout: 0,
      hedge: 0,
      breaker: 0,
      rest: 30,
      pools: [{ provider: 'openai', model: '*', strategy: 'weighted', members: [] }],
    },
    guards: [],
  },
} as unknown as GatewayView;

describe('the form of a gateway', () => {
  it('sends nothing of what was not touched', () => {
    const fields = gatewayFields(view);
    expect(gatewayFaults(fields)).toEqual({});
    expect(gatewayChange(view, fields)).toEqual({});
  });

  it('shows values as people type them', () => {
    const { texts, switches, voice } = gatewayFields(view);
    expect(texts).toMatchObject({
      ttl: '10m',
      max_bytes: '10',
      max_rows: '1000',
      max_age_days: '',
      custom_costs: 'openai/gpt-4o* in=2.5 out=10',
    });
    expect(switches['authenticated']).toBe(true);
    expect(voice).toMatchObject({ max_duration: '30m', budget: '5/day', idle: '' });
  });

  it('sends what was changed, at its place, and what was emptied as its default', () => {
    const fields = gatewayFields(view);
    fields.switches['record'] = true;
    fields.texts['ttl'] = '';
    fields.texts['max_rows'] = '';
    fields.texts['max_attempts'] = '3';
    fields.texts['allowed_origins'] = 'https://a.example\nhttps://b.example';
    fields.texts['pools'] = '';
    fields.voice.budget = '';
    fields.voice.idle = '2m';
    expect(gatewayChange(view, fields)).toEqual({
      allowed_origins: ['https://a.example', 'https://b.example'],
      control: { cache: { ttl: 0 }, attempts: { max_attempts: 3, pools: [] } },
      logging: { max_rows: null },
      realtime: {
        record: true,
        limits: {
          max_duration: 1_800,
          idle: 120,
          concurrent: null,
          sessions: null,
          minutes: null,
          tokens: null,
          budget: null,
        },
      },
    });
  });

  it('says what is typed wrongly', () => {
    const fields = gatewayFields(view);
    Object.assign(fields.texts, { ttl: 'soon', delay: 'x', pools: '{"a": 1}', custom_costs: 'gpt-4o' });
    fields.voice.budget = 'much/day';
    expect(gatewayFaults(fields)).toEqual({
      ttl: 'length',
      delay: 'number',
      pools: 'json',
      custom_costs: 'prices',
      'limits.budget': 'quota',
    });
  });
});

describe('prices', () => {
  it.each(['openai/gpt-4o* in=2.5 out=10', '*/meta/llama cached=0.1 written=3', '*/x request=0.01'])(
    'are read as they are written: %s',
    (text) => {
      const prices = pricesIn(text);
      expect(prices && pricesText(prices)).toBe(text);
    },
  );

  it.each(['openai/x', 'openai/x in', 'openai/x in=-1', 'openai/x price=1'])('are not in %s', (text) => {
    expect(pricesIn(text)).toBeUndefined();
  });
});
