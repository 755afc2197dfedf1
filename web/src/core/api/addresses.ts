/** Where things are on the gateway that served this page. */

/** A provider on one of the gateway's paths. */
export interface ProviderAddress {
  readonly account: string;
  readonly gateway: string;
  /** Its slug. */
  readonly provider: string;
}

/** The path that leads to `rest` of a provider's own API. */
export function dataPlanePath({ account, gateway, provider }: ProviderAddress, rest: string): string {
  return `/v1/${[account, gateway, provider].map(encodeURIComponent).join('/')}/${rest}`;
}

/** The path, with its query, of a provider's voice. */
export function voicePath(address: ProviderAddress, model: string): string {
  return dataPlanePath(address, `realtime?model=${encodeURIComponent(model)}`);
}
