/** Client secrets of the gateway's own: short-lived, and all that a page has to show for a key. */

import { asObject, asString, parseJson } from '../narrow';
import { errorOf } from '../refusal';
import { dataPlanePath, type ProviderAddress } from './addresses';
import { ApiFailure } from './console';

const LIFETIME_SECONDS = 60;

export interface SecretWish {
  readonly address: ProviderAddress;
  /** How often it may be used within its minute; 0 is any number of times. */
  readonly uses: number;
  /** The one model it is good for in conversation; without it, whatever the session may use. */
  readonly model?: string;
  readonly signal: AbortSignal;
}

/**
 * Ask for a secret that stands for this browser's session at one provider. Throws `ApiFailure`.
 *
 * Whoever gets the secret shows it at once and keeps it nowhere.
 */
export async function mintClientSecret({ address, uses, model, signal }: SecretWish): Promise<string> {
  const response = await ask(dataPlanePath(address, 'realtime/client_secrets'), signal, {
    expires_after: { anchor: 'created_at', seconds: LIFETIME_SECONDS },
    session: { type: 'realtime', ...(model && { model }) },
    trunkline: { uses },
  });
  const answer = parseJson(await response.text().catch(() => ''));
  if (!response.ok) {
    const { message, code } = errorOf(answer);
    throw new ApiFailure(response.status, code, message);
  }
  const secret = asString(asObject(answer)?.['value']);
  if (!secret)
    throw new ApiFailure(response.status, 'no_client_secret', 'The answer holds no client secret.');
  return secret;
}

async function ask(path: string, signal: AbortSignal, wish: object): Promise<Response> {
  try {
    return await fetch(path, {
      method: 'POST',
      // Whatever the gateway does for other clients: a secret of the provider's own would be good only there.
      headers: { 'content-type': 'application/json', 'x-trunkline-client-secrets': 'brokered' },
      body: JSON.stringify(wish),
      cache: 'no-store',
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw ApiFailure.unreachable();
  }
}
