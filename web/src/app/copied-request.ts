/** How a copied program authenticates itself, since no copy holds a key. */
import type { ProviderView } from '../core/api/console';
import type { CopyOptions } from '../core/request-copy';
import { app } from './console.svelte';

export const TOKEN_VARIABLE = 'TRUNKLINE_GATEWAY_TOKEN';

/** Name the environment variable that goes into `Authorization`: the provider's key, else the gateway's token. */
export function copyOptions(provider: ProviderView): CopyOptions {
  if (provider.needs_key && provider.key.source !== 'settings') {
    return { keyVariable: `${provider.slug.toUpperCase().replaceAll('-', '_')}_API_KEY` };
  }
  return app.config?.authenticated ? { keyVariable: TOKEN_VARIABLE } : {};
}
