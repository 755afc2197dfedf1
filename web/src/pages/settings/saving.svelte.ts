/** Saves one change at a time and says how it went, to eyes and ears. */
import { announcer } from '../../app/announcer.svelte';
import { app } from '../../app/console.svelte';
import { ApiFailure, type SessionChange } from '../../core/api/console';
import { fill } from '../../i18n/index.svelte';
import { own } from './words';

class Saving {
  /** Why the last change was not saved; empty when it was. */
  problem = $state('');

  /** Tell the gateway of a change. Returns whether it was saved. */
  async save(change: SessionChange): Promise<boolean> {
    return this.attempt(() => app.change(change), own.t.saved);
  }

  /** Do what changes the session, and announce `done`. Returns whether it succeeded. */
  async attempt(change: () => Promise<void>, done: string): Promise<boolean> {
    this.problem = '';
    try {
      await change();
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.problem = fill(own.t.notSaved, { reason: error.message });
      return false;
    }
    announcer.say(done);
    return true;
  }
}

export const saving = new Saving();
