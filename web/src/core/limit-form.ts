/** What the forms for limits hold, as people type it, and what is sent of it. */

import type { KeyRule, LimitRule, SessionLimits } from './api/gateways';
import { quotaOf, quotaText, secondsIn } from './limits';

/** Names by which a rule can divide and choose, besides tags. */
export const NAMES = ['key', 'user', 'provider', 'model'] as const;
const TAG = 'metadata.';

/** The own rules of a key: they are shown and changed at the key. */
const OF_A_KEY = /^key_[0-9a-f]{12}\.(?:requests|tokens|cost|concurrent)$/;

export function isOfAKey({ id, per }: Pick<LimitRule, 'id' | 'per'>): boolean {
  return OF_A_KEY.test(id) && per.length === 0;
}

/** Write conditions as lines: `model: gpt-4o*, openai/*`. */
export function whereText(where: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(where)
    .map(([name, values]) => `${name}: ${values.join(', ')}`)
    .join('\n');
}

/** Read conditions; the number of the first line that is none, where there is one. */
export function whereIn(
  text: string,
): { readonly where: Record<string, string[]> } | { readonly line: number } {
  const where: Record<string, string[]> = {};
  for (const [place, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const [, name, rest = ''] = /^\s*([^:]*[^:\s])\s*:(.*)$/.exec(line) ?? [];
    const values = listIn(rest);
    if (name === undefined || values.length === 0) return { line: place + 1 };
    where[name] = [...(where[name] ?? []), ...values];
  }
  return { where };
}

/** The parts of a text between commas and line ends, without what is empty. */
export function listIn(text: string): string[] {
  return text
    .split(/[,\n]/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** The tags that a rule divides by, without the prefix that says that they are some. */
export function tagsOf(per: readonly string[]): string[] {
  return per.filter((name) => name.startsWith(TAG)).map((name) => name.slice(TAG.length));
}

export function perOf(names: readonly string[], tags: readonly string[]): string[] {
  return [...names, ...tags.map((tag) => (tag.startsWith(TAG) ? tag : TAG + tag))];
}

/** The limits of a key as a form has them: quotas as `60/minute`, times as `30m`; empty for none. */
export interface KeyLimitFields {
  requests: string;
  tokens: string;
  cost: string;
  concurrent: string;
  voice: Record<VoiceLimit, string>;
}
export type VoiceLimit = keyof typeof VOICE;

/** What the gateway takes as a limit of voice sessions: seconds, a number, or a quota. */
export const VOICE = {
  max_duration: 'length',
  idle: 'length',
  concurrent: 'number',
  sessions: 'quota',
  minutes: 'quota',
  tokens: 'quota',
  budget: 'quota',
} as const;
export const VOICE_LIMITS = Object.keys(VOICE) as VoiceLimit[];

const QUOTAS = ['requests', 'tokens', 'cost'] as const;

export function noVoice(): Record<VoiceLimit, string> {
  return { max_duration: '', idle: '', concurrent: '', sessions: '', minutes: '', tokens: '', budget: '' };
}

/** Fill a form in; `lengthText` writes seconds. */
export function keyLimitFields(
  rules: readonly KeyRule[],
  limits: SessionLimits,
  lengthText: (seconds: number) => string,
): KeyLimitFields {
  const quota = (measure: string): string => {
    const rule = rules.find((one) => one.measure === measure);
    return rule ? quotaText({ limit: rule.limit, seconds: rule.window }) : '';
  };
  const concurrent = rules.find(({ measure }) => measure === 'concurrent');
  const voice = noVoice();
  for (const name of VOICE_LIMITS) {
    const value = limits[name];
    if (value === null || value === undefined) continue;
    voice[name] = typeof value === 'number' && VOICE[name] === 'length' ? lengthText(value) : String(value);
  }
  return {
    requests: quota('requests'),
    tokens: quota('tokens'),
    cost: quota('cost'),
    concurrent: concurrent ? String(concurrent.limit) : '',
    voice,
  };
}

export type FaultKind = 'quota' | 'number' | 'length';

/** What is typed wrongly, by the field's name; those of voice begin with `limits.`. */
export function faultsIn(fields: KeyLimitFields): Record<string, FaultKind> {
  const faults: Record<string, FaultKind> = {};
  for (const name of QUOTAS) {
    if (fields[name] !== '' && !quotaOf(fields[name])) faults[name] = 'quota';
  }
  if (fields.concurrent.trim() !== '' && !isCount(fields.concurrent)) faults['concurrent'] = 'number';
  for (const [name, fault] of Object.entries(voiceFaults(fields.voice))) faults[`limits.${name}`] = fault;
  return faults;
}

export function voiceFaults(voice: Readonly<Record<VoiceLimit, string>>): Record<string, FaultKind> {
  const faults: Record<string, FaultKind> = {};
  for (const name of VOICE_LIMITS) {
    const text = voice[name].trim();
    const kind = VOICE[name];
    const isRight =
      kind === 'quota' ? quotaOf(text) : kind === 'length' ? secondsIn(text) : isCount(text) || null;
    if (text !== '' && isRight === null) faults[name] = kind;
  }
  return faults;
}

/** What is sent of fields without a fault. */
export function keyLimitsIn(fields: KeyLimitFields): { rules: KeyRule[]; limits: SessionLimits } {
  const rules = QUOTAS.flatMap((measure): KeyRule[] => {
    const quota = quotaOf(fields[measure]);
    return quota ? [{ measure, limit: quota.limit, window: quota.seconds }] : [];
  });
  const concurrent = fields.concurrent.trim();
  if (concurrent !== '') rules.push({ measure: 'concurrent', limit: Number(concurrent), window: 60 });
  return { rules, limits: voiceLimitsIn(fields.voice) };
}

/** Every limit is named: one that is empty is cleared. */
export function voiceLimitsIn(voice: Readonly<Record<VoiceLimit, string>>): SessionLimits {
  const limits: SessionLimits = {};
  for (const name of ['sessions', 'minutes', 'tokens', 'budget'] as const) {
    limits[name] = voice[name].replace(',', '.') || null;
  }
  limits.max_duration = secondsIn(voice.max_duration);
  limits.idle = secondsIn(voice.idle);
  limits.concurrent = voice.concurrent.trim() === '' ? null : Number(voice.concurrent);
  return limits;
}

function isCount(text: string): boolean {
  return /^\d{1,9}$/.test(text.trim());
}
