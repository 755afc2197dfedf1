/** Dynamic routes on the console's API, below `/api/gateways/{gateway}/routes`. */

import type { components } from '../../gen/api';
import type { JsonObject } from '../narrow';
import type { ConsoleApi } from './console';

type Schemas = components['schemas'];
export type DynamicRoute = Schemas['DynamicRoute'];
export type WholeDynamicRoute = Schemas['WholeDynamicRoute'];
export type RouteSimulation = Schemas['RouteSimulation'];
export type RouteTraceLine = Schemas['RouteTraceLine'];
export type RouteSimulationWish = Partial<
  Omit<Schemas['RouteSimulationWish'], 'elements' | 'request' | 'metadata'>
> & {
  readonly elements?: readonly JsonObject[];
  readonly request: JsonObject;
  readonly metadata?: Readonly<Record<string, boolean | number | string>>;
};

/** Every method throws `ApiFailure`. */
export class RoutesApi {
  constructor(private readonly api: ConsoleApi) {}

  /** A gateway's routes, oldest first. */
  list(gateway: string): Promise<readonly DynamicRoute[]> {
    return this.api.call<readonly DynamicRoute[]>('GET', below(gateway));
  }

  /** A route with the elements of one version, or else of the deployed one. */
  show(gateway: string, name: string, version?: string): Promise<WholeDynamicRoute> {
    const query = version === undefined ? '' : `?${new URLSearchParams({ version })}`;
    return this.api.call<WholeDynamicRoute>('GET', below(gateway, name) + query);
  }

  /** Make a version and deploy it. Elements that are deployed already stay so, and no version is made. */
  put(gateway: string, name: string, elements: readonly JsonObject[]): Promise<WholeDynamicRoute> {
    return this.api.call<WholeDynamicRoute>('PUT', below(gateway, name), { elements });
  }

  deploy(gateway: string, name: string, version: string): Promise<WholeDynamicRoute> {
    return this.api.call<WholeDynamicRoute>('POST', `${below(gateway, name)}/deploy`, { version });
  }

  async delete(gateway: string, name: string): Promise<void> {
    await this.api.call<undefined>('DELETE', below(gateway, name));
  }

  /** Where a request would go. No provider is asked, and no quota is touched. */
  simulate(gateway: string, wish: RouteSimulationWish): Promise<RouteSimulation> {
    return this.api.call<RouteSimulation>('POST', below(gateway, 'simulate'), wish);
  }
}

function below(gateway: string, ...rest: string[]): string {
  return ['/api/gateways', ...[gateway, 'routes', ...rest].map(encodeURIComponent)].join('/');
}
