/** A voice call through the gateway that served this page, as any browser app would make it. */

import { voicePath, type ProviderAddress } from '../api/addresses';
import { mintClientSecret } from '../api/client-secret';
import { WebSocketTransport } from './transport';

/**
 * Each time it is opened, a secret that is good once is minted and offered. `minted` is told the secret's id, by which
 * the gateway's record of the session can be found.
 */
export function throughGateway(
  address: ProviderAddress,
  model: string,
  minted?: (id: string) => void,
): WebSocketTransport {
  return new WebSocketTransport(async (signal) => {
    const { value, id } = await mintClientSecret({ address, uses: 1, model, signal });
    minted?.(id);
    return {
      url: voicePath(address, model),
      protocols: ['realtime', `openai-insecure-api-key.${value}`],
    };
  });
}
