/** A voice call through the gateway that served this page, as any browser app would make it. */

import { voicePath, type ProviderAddress } from '../api/addresses';
import { mintClientSecret } from '../api/client-secret';
import { WebSocketTransport } from './transport';

/** Each time it is opened, a secret that is good once is minted and offered. */
export function throughGateway(address: ProviderAddress, model: string): WebSocketTransport {
  return new WebSocketTransport(async (signal) => {
    const secret = await mintClientSecret({ address, uses: 1, model, signal });
    return {
      url: voicePath(address, model),
      protocols: ['realtime', `openai-insecure-api-key.${secret}`],
    };
  });
}
