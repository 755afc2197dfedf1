/** What who uses this page may do. The gateway decides; this only spares people what it would refuse. */
import { app } from './console.svelte';

export const access = {
  /** Change a gateway. */
  get edits(): boolean {
    return may('edit');
  },
  /** Change what is every gateway's. */
  get administers(): boolean {
    return may('administer');
  },
};

/** Nothing is said of whoever is at the machine of an open gateway, and they may do everything. */
function may(act: string): boolean {
  const { may: acts } = app.login ?? { may: [act] };
  return acts.length === 0 || acts.includes(act);
}
