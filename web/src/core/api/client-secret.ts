/** Client secrets of the gateway's own: short-lived, and all that a page has to show for a key. */

import { CLIENT_SECRETS_HEADER } from '../../gen/constants';
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

export interface ClientSecret {
  /** Whoever gets it shows it at once and keeps it nowhere. */
  readonly value: string;
  /** No secret: the gateway names by it who opened a session. Empty where the answer does not say. */
  readonly id: string;
}

/**
 * Ask for a secret that stands for this browser's session at one provider. Throws `ApiFailure`.
 */
export async function mintClientSecret({ address, uses, model, signal }: SecretWish): Promise<ClientSecret> {
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
  const told = asObject(answer);
  const value = asString(told?.['value']);
  if (!value) throw new ApiFailure(response.status, 'no_client_secret', 'The answer holds no client secret.');
  return { value, id: asString(asObject(told?.['trunkline'])?.['id']) ?? '' };
}

async function ask(path: string, signal: AbortSignal, wish: object): Promise<Response> {
  try {
    return await fetch(path, {
      method: 'POST',
      // Whatever the gateway does for other clients: a secret of the provider's own would be good only there.
      headers: { 'content-type': 'application/json', [CLIENT_SECRETS_HEADER]: 'brokered' },
      body: JSON.stringify(wish),
      cache: 'no-store',
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw ApiFailure.unreachable();
  }
}
