/** Gateways, their keys and limits on the console's API, below `/api/gateways`. Secrets go one way, once. */

import type { components } from '../../gen/api';
import type { ConsoleApi } from './console';

type Schemas = components['schemas'];
export type GatewayView = Schemas['GatewayView'];
export type GatewayChange = Partial<Schemas['GatewayChange']>;
export type KeyView = Schemas['KeyView'];
export type MadeKey = Schemas['MadeKey'];
export type KeyRule = Schemas['KeyRule'];
export type KeyUse = Schemas['KeyUse'];
export type KeyStanding = Schemas['KeyStanding'];
export type SessionLimits = Schemas['Limits'];
export type LimitRule = Schemas['LimitRule'];
export type LimitStanding = Schemas['LimitStanding'];
export type GuardRule = Schemas['GuardRule'];
export type StoredKey = Schemas['StoredKeyView'];
export type CacheView = Schemas['CacheView'];
/** What is absent is the default. */
export type NewKey = Partial<Schemas['NewKey']>;

const ALL = '/api/gateways';

/** Every method throws `ApiFailure`. */
export class GatewaysApi {
  constructor(private readonly api: ConsoleApi) {}

  all(signal?: AbortSignal): Promise<readonly GatewayView[]> {
    return this.api.call('GET', ALL, undefined, signal);
  }

  one(gateway: string, signal?: AbortSignal): Promise<GatewayView> {
    return this.api.call('GET', path(gateway), undefined, signal);
  }

  create(wanted: GatewayChange & { readonly id: string }): Promise<GatewayView> {
    return this.api.call('POST', ALL, wanted);
  }

  change(gateway: string, change: GatewayChange): Promise<GatewayView> {
    return this.api.call('PATCH', path(gateway), change);
  }

  /** Its keys and stored provider keys go with it. */
  async remove(gateway: string): Promise<void> {
    await this.api.call('DELETE', path(gateway));
  }

  /** Change the rules of limits as they are now: those that others have made meanwhile stay. */
  async changeLimits(
    gateway: string,
    change: (rules: readonly LimitRule[]) => readonly LimitRule[],
  ): Promise<GatewayView> {
    const { control } = await this.one(gateway);
    const limits = [...change(control.limits)];
    return this.change(gateway, { control: { limits } as unknown as GatewayView['control'] });
  }

  cache(gateway: string, signal?: AbortSignal): Promise<CacheView> {
    return this.api.call('GET', path(gateway, 'cache'), undefined, signal);
  }

  /** Remove kept answers: those that fit all that is said. Returns how many there were. */
  async purge(gateway: string, only: Readonly<Record<string, string>>): Promise<number> {
    const query = new URLSearchParams(only);
    const address = path(gateway, 'cache') + (query.size > 0 ? `?${query}` : '');
    return (await this.api.call<Schemas['Purged']>('DELETE', address)).purged;
  }

  keys(gateway: string, signal?: AbortSignal): Promise<readonly KeyView[]> {
    return this.api.call('GET', path(gateway, 'keys'), undefined, signal);
  }

  /** How the keys that count stand to their limits. */
  async keyUses(gateway: string, signal?: AbortSignal): Promise<readonly KeyUse[]> {
    const address = path(gateway, 'key-limits');
    return (await this.api.call<Schemas['KeyUses']>('GET', address, undefined, signal)).keys;
  }

  createKey(gateway: string, wanted: NewKey): Promise<MadeKey> {
    return this.api.call('POST', path(gateway, 'keys'), wanted);
  }

  limitKey(
    gateway: string,
    key: string,
    change: { readonly rules: readonly KeyRule[]; readonly limits: SessionLimits },
  ): Promise<KeyView> {
    return this.api.call('PATCH', path(gateway, 'keys', key), change);
  }

  /** Make a key like another one, which goes on for so many seconds. */
  rotateKey(gateway: string, key: string, overlap: number): Promise<MadeKey> {
    return this.api.call('POST', path(gateway, 'keys', key, 'rotate'), { overlap });
  }

  revokeKey(gateway: string, key: string): Promise<KeyView> {
    return this.api.call('DELETE', path(gateway, 'keys', key));
  }

  async limits(gateway: string, signal?: AbortSignal): Promise<readonly LimitStanding[]> {
    const address = path(gateway, 'limits');
    return (await this.api.call<Schemas['LimitStandings']>('GET', address, undefined, signal)).limits;
  }

  storedKeys(gateway: string, signal?: AbortSignal): Promise<readonly StoredKey[]> {
    return this.api.call('GET', path(gateway, 'stored-keys'), undefined, signal);
  }

  storeKey(gateway: string, provider: string, alias: string, key: string): Promise<StoredKey> {
    return this.api.call('PUT', path(gateway, 'stored-keys', provider, alias), { key });
  }

  async forgetKey(gateway: string, { provider, alias }: StoredKey): Promise<void> {
    await this.api.call('DELETE', path(gateway, 'stored-keys', provider, alias));
  }
}

function path(...steps: readonly string[]): string {
  return [ALL, ...steps.map(encodeURIComponent)].join('/');
}
