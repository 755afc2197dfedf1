/** The routes of the gateway that this browser has chosen. */
import { announcer } from '../../app/announcer.svelte';
import { api, app } from '../../app/console.svelte';
import { ApiFailure } from '../../core/api/console';
import { RoutesApi, type DynamicRoute } from '../../core/api/routes';
import { fill } from '../../i18n/index.svelte';
import { own } from './words';

export const routesApi = new RoutesApi(api);

export class RouteList {
  routes = $state.raw<readonly DynamicRoute[]>([]);
  /** Whether the first answer has come. */
  known = $state(false);
  /** Why they could not be read; empty when they were. */
  failure = $state('');

  /** Read them again. Never rejects: see `failure`. */
  async refresh(): Promise<void> {
    try {
      this.routes = await routesApi.list(app.gateway);
      this.failure = '';
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.failure = error.message;
    }
    this.known = true;
  }

  has(name: string): boolean {
    return this.routes.some((route) => route.name === name);
  }

  /** Throws `ApiFailure`. */
  async delete(name: string): Promise<void> {
    await routesApi.delete(app.gateway, name);
    announcer.say(fill(own.t.confirm.deleted, { name }));
    await this.refresh();
  }
}

/** Which number a version has: they are counted from the oldest. */
export function numberOf({ versions }: Pick<DynamicRoute, 'versions'>, id: string): number {
  return versions.length - versions.findIndex((version) => version.id === id);
}

export function deployedNumber(route: Pick<DynamicRoute, 'version' | 'versions'>): number {
  return numberOf(route, route.version);
}
