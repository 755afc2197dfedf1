/** The settings that the proof of concept for Cloudflare's gateway kept in web storage, keys and all. */
import type { SessionChange } from './api/console';
import { asObject, asString, parseJson } from './narrow';

/** Under which it kept them. */
export const POC_KEY = 'cf_ai_gateway_config';

export interface PocConfig {
  readonly change: SessionChange;
  /** Cloudflare's, which mean nothing here where they are not this gateway's too. */
  readonly accountId: string;
  readonly gatewayId: string;
  /** Whether it had any key. */
  readonly hasSecret: boolean;
}

const FIELDS = ['accountId', 'gatewayId', 'openaiKey', 'cfAuthToken', 'useAuthGateway', 'model'];

/** Read them; null where it is something else. `account` is the one that this gateway answers at. */
export function readPocConfig(text: string, account: string): PocConfig | null {
  const kept = asObject(parseJson(text));
  if (!kept || !FIELDS.some((name) => name in kept)) return null;
  const of = (name: string): string => (asString(kept[name]) ?? '').trim();
  const [accountId, gatewayId, key, token, model] = [
    of('accountId'),
    of('gatewayId'),
    of('openaiKey'),
    of('cfAuthToken'),
    of('model'),
  ];
  return {
    accountId,
    gatewayId,
    hasSecret: key !== '' || token !== '',
    change: {
      provider: 'openai',
      ...(accountId !== '' && accountId === account && gatewayId !== '' ? { gateway_id: gatewayId } : {}),
      ...(key && { provider_key: key }),
      ...(token && { gateway_token: token }),
      ...(token && { use_authenticated_gateway: kept['useAuthGateway'] === true }),
      ...(model && { [model.includes('realtime') ? 'realtime_model' : 'model']: model }),
    },
  };
}
