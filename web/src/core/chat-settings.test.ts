import { describe, expect, it } from 'vitest';

import {
  DEFAULT_SETTINGS,
  gatewayHeaders,
  keptSettings,
  metadataOf,
  parametersOf,
  settingsFrom,
} from './chat-settings';

describe('wishes to the gateway', () => {
  it('become headers, and what is not wished for does not', () => {
    expect(gatewayHeaders({})).toEqual({});
    expect(
      gatewayHeaders({ skipCache: 'true', cacheTtl: '120', cacheKey: ' k ', attempts: '3', alias: '' }),
    ).toEqual({
      'cf-aig-skip-cache': 'true',
      'cf-aig-cache-ttl': '120',
      'cf-aig-cache-key': 'k',
      'cf-aig-max-attempts': '3',
    });
  });

  it('say in two headers what is to be logged', () => {
    expect(gatewayHeaders({ log: 'none' })).toEqual({ 'cf-aig-collect-log': 'false' });
    expect(gatewayHeaders({ log: 'counts' })).toEqual({
      'cf-aig-collect-log': 'true',
      'cf-aig-collect-log-payload': 'false',
    });
  });

  it('tell prices of one token, written as those of a million', () => {
    expect(gatewayHeaders({ costIn: '2.5' })).toEqual({
      'cf-aig-custom-cost': '{"per_token_in":0.0000025,"per_token_out":0}',
    });
  });

  it('carry metadata in ASCII, since headers hold no more', () => {
    const header = gatewayHeaders({ metadata: 'team: Größe\nn = 3\nlive: true' })['cf-aig-metadata'] ?? '';
    expect(header).toMatch(/^[ -~]+$/);
    expect(JSON.parse(header)).toEqual({ team: 'Größe', n: 3, live: true });
  });
});

describe('metadata', () => {
  it('is at most five lines, and lines without a name are none', () => {
    expect(metadataOf('a: 1\n\nnothing\n: x\nb: {"c": 1}\nurl: http://x:1')).toEqual({
      a: 1,
      b: '{"c": 1}',
      url: 'http://x:1',
    });
    expect(Object.keys(metadataOf('a:1\nb:1\nc:1\nd:1\ne:1\nf:1'))).toHaveLength(5);
  });
});

describe('the settings of a conversation', () => {
  it('come back as they were kept, and only what is set is kept', () => {
    expect(keptSettings(DEFAULT_SETTINGS)).toEqual({});
    const settings = {
      systemPrompt: 'Be brief.',
      temperature: 0,
      maxTokens: 5,
      format: 'schema',
      schema: '{}',
      route: 'cheap',
      wishes: { cacheTtl: '60' },
    } as const;
    expect(settingsFrom(keptSettings(settings))).toEqual(settings);
    expect(settingsFrom({ format: 'xml', wishes: { cacheTtl: 7, other: 'x' } })).toEqual(DEFAULT_SETTINGS);
  });

  it('ask for JSON, and for a schema only where it is one', () => {
    expect(parametersOf({ ...DEFAULT_SETTINGS, format: 'json' })).toEqual({
      responseFormat: { type: 'json_object' },
    });
    const schema = '{"type": "object"}';
    expect(parametersOf({ ...DEFAULT_SETTINGS, format: 'schema', schema })).toEqual({
      responseFormat: {
        type: 'json_schema',
        json_schema: { name: 'answer', schema: { type: 'object' }, strict: true },
      },
    });
    expect(parametersOf({ ...DEFAULT_SETTINGS, format: 'schema', schema: '{"type"' })).toEqual({});
  });
});
