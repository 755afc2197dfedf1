/** Accounts and what was changed by whom, on the console's API, below `/api/users` and `/api/audit`. */

import type { components } from '../../gen/api';
import type { ConsoleApi, UserView } from './console';

type Schemas = components['schemas'];
export type Link = Schemas['Link'];
export type Role = UserView['role'];
export type AuditEntry = Schemas['AuditEntry'];
export type AuditPage = Schemas['AuditPage'];

/** Every method throws `ApiFailure`. */
export class PeopleApi {
  constructor(private readonly api: ConsoleApi) {}

  all(signal?: AbortSignal): Promise<readonly UserView[]> {
    return this.api.call('GET', '/api/users', undefined, signal);
  }

  /** The link by which somebody chooses a password is good once. */
  invite(name: string, role: Role): Promise<Link> {
    return this.api.call('POST', '/api/users', { name, role });
  }

  change(id: string, change: { readonly role?: Role; readonly disabled?: boolean }): Promise<UserView> {
    return this.api.call('PATCH', of(id), change);
  }

  reset(id: string): Promise<Link> {
    return this.api.call('POST', `${of(id)}/reset`);
  }

  async remove(id: string): Promise<void> {
    await this.api.call('DELETE', of(id));
  }

  /** Changes, newest first, that fit all that `wanted` says. */
  audit(wanted: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<AuditPage> {
    return this.api.call('GET', `/api/audit?${new URLSearchParams(wanted)}`, undefined, signal);
  }
}

function of(id: string): string {
  return `/api/users/${encodeURIComponent(id)}`;
}
