/** Providers on the console's API, below `/api/providers`. Values of headers go in once and never come back. */

import type { components } from '../../gen/api';
import type { ConsoleApi } from './console';

type Schemas = components['schemas'];
export type ProviderEntry = Schemas['ProviderEntry'];
export type CustomProvider = Schemas['CustomProviderView'];
export type StoredKey = Schemas['StoredKeyView'];
/** What is absent stays as it is; `headers` are replaced as a whole. */
export type CustomChange = Schemas['CustomChange'];
export type NewCustom = CustomChange & Pick<Schemas['NewCustom'], 'slug' | 'base_url'>;

/** What stands for the value of a header that the gateway keeps; sent back, it stays. */
export const KEPT = '********';

/** Every method throws `ApiFailure`. */
export class ProvidersApi {
  constructor(private readonly api: ConsoleApi) {}

  all(): Promise<readonly ProviderEntry[]> {
    return this.api.call<readonly ProviderEntry[]>('GET', '/api/providers');
  }

  /** Those that were added while the gateway ran, oldest first. */
  custom(): Promise<readonly CustomProvider[]> {
    return this.api.call<readonly CustomProvider[]>('GET', '/api/providers/custom');
  }

  /** The provider keys in a gateway's vault, by their last characters. */
  storedKeys(gateway: string): Promise<readonly StoredKey[]> {
    return this.api.call<readonly StoredKey[]>(
      'GET',
      `/api/gateways/${encodeURIComponent(gateway)}/stored-keys`,
    );
  }

  add(wanted: NewCustom): Promise<CustomProvider> {
    return this.api.call<CustomProvider>('POST', '/api/providers/custom', wanted);
  }

  change(slug: string, change: CustomChange): Promise<CustomProvider> {
    return this.api.call<CustomProvider>(
      'PATCH',
      `/api/providers/custom/${encodeURIComponent(slug)}`,
      change,
    );
  }

  /** Remove one, and the keys that vaults hold for it. */
  async remove(slug: string): Promise<void> {
    await this.api.call<undefined>('DELETE', `/api/providers/custom/${encodeURIComponent(slug)}`);
  }
}
