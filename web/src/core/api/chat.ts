/** What the chat page reads of the log. */

import type { components } from '../../gen/api';
import type { Bodies } from '../replay';
import type { ConsoleApi } from './console';

type Schemas = components['schemas'];
export type LogRow = Schemas['LogRow'];

/** Its row is written when an answer has ended, which is about when the page learns of it. */
const NEWEST = 20;

/** Both throw `ApiFailure`. */
export class ChatLog {
  constructor(private readonly api: ConsoleApi) {}

  /** The exchange of an id, with what was said in it. */
  async exchange(id: string): Promise<{ row: LogRow; bodies: Bodies }> {
    const path = `/api/logs/${encodeURIComponent(id)}`;
    const row = await this.api.call<LogRow>('GET', path);
    return { row, bodies: await this.api.call<Schemas['Bodies']>('GET', `${path}/payload`) };
  }

  /** One of the newest rows of a gateway, or undefined: it is no fault that a row is not there yet. */
  async recent(gateway: string, id: string): Promise<LogRow | undefined> {
    const query = new URLSearchParams({ gateway, limit: String(NEWEST) });
    const { logs } = await this.api.call<Schemas['LogPage']>('GET', `/api/logs?${query}`);
    return logs.find((row) => row.id === id);
  }
}
