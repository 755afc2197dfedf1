/** How a gateway is doing, out of what it says of its parts. */
import type { components } from '../gen/api';

type Schemas = components['schemas'];
export type Overview = Schemas['Overview'];
export type ProviderHealth = Schemas['ProviderHealth'];
export type Local = Schemas['LocalView'];

/** `off` is as it should be: nobody needs it yet. */
export type Tone = 'good' | 'warn' | 'bad' | 'off';

/** A provider as a whole: of its places the one that is worst off. */
export interface ProviderState {
  readonly provider: string;
  readonly tone: Tone;
  readonly state: ProviderHealth['state'];
  readonly restsSeconds: number;
  readonly latencyMs: number | null;
}

const TONES: Readonly<Record<ProviderHealth['state'], Tone>> = {
  closed: 'good',
  'half-open': 'warn',
  resting: 'warn',
  open: 'bad',
};
const ORDER: readonly Tone[] = ['off', 'good', 'warn', 'bad'];

/** The worst of some tones; `off` where there is none. */
export function worst(tones: readonly Tone[]): Tone {
  return tones.reduce((one, other) => (ORDER.indexOf(other) > ORDER.indexOf(one) ? other : one), 'off');
}

/** Providers by name, those in trouble first. */
export function providerStates(places: readonly ProviderHealth[]): readonly ProviderState[] {
  const found = new Map<string, ProviderState>();
  for (const { provider, state, rests_seconds, latency_ms } of places) {
    const here = {
      provider,
      tone: TONES[state],
      state,
      restsSeconds: Math.ceil(rests_seconds),
      latencyMs: latency_ms,
    };
    const known = found.get(provider);
    if (!known || ORDER.indexOf(here.tone) > ORDER.indexOf(known.tone)) found.set(provider, here);
  }
  return [...found.values()].sort(
    (one, other) =>
      ORDER.indexOf(other.tone) - ORDER.indexOf(one.tone) || one.provider.localeCompare(other.provider),
  );
}

export function toneOfLocal({ status }: Local): Tone {
  return status === 'failed'
    ? 'bad'
    : status === 'missing-models'
      ? 'warn'
      : status === 'ready'
        ? 'good'
        : 'off';
}

/** What was lost stays lost; what waits is written later. */
export function toneOfLog({ log }: Overview): Tone {
  return log.lost > 0 ? 'bad' : log.held_up ? 'warn' : 'good';
}

/** The change from one time to another in whole percent; null where there is nothing to compare with. */
export function changeOf(now: number | null | undefined, before: number | null | undefined): number | null {
  return typeof now !== 'number' || !before ? null : Math.round((now / before - 1) * 100);
}
