/** How a copied program authenticates itself, since no copy holds a key. */
import type { ProviderView } from '../core/api/console';
import type { CopiedRequest } from '../core/request-copy';
import { GATEWAY_TOKEN_HEADER } from '../gen/constants';
import { app } from './console.svelte';

export const TOKEN_VARIABLE = 'TRUNKLINE_GATEWAY_TOKEN';

/**
 * Show the provider's key, unless the gateway keeps it, and the token of a gateway that wants one: in `Authorization`
 * where that is free. Of a provider that is not known here, the gateway's token is all that can be shown.
 */
export function withCredentials(request: CopiedRequest, provider: ProviderView | undefined): CopiedRequest {
  return { ...request, headers: { ...request.headers, ...credentials(provider) } };
}

function credentials(provider: ProviderView | undefined): Record<string, string> {
  const token = `Bearer \${${TOKEN_VARIABLE}}`;
  if (!provider) return { authorization: token };
  const isGuarded = app.config?.authenticated ?? false;
  if (!provider.needs_key || provider.key.source === 'settings') {
    return isGuarded ? { authorization: token } : {};
  }
  const variable = `${provider.slug.toUpperCase().replaceAll('-', '_')}_API_KEY`;
  return {
    authorization: `Bearer \${${variable}}`,
    ...(isGuarded ? { [GATEWAY_TOKEN_HEADER]: token } : {}),
  };
}
