/** Where conversations are kept: on the gateway. One saver for the whole page, and how it fares. */
import { ConversationSaver, type Saving } from '../core/conversation-saver';
import { api } from './console.svelte';

class ConversationSaving {
  state = $state.raw<Saving>({ kind: 'saved' });
  /** Grows whenever all has reached the server: lists are out of date then. */
  round = $state(0);
  /** Told of conversations that are deleted by another page: whoever shows one lets go of it. */
  onDeleted: (ids: readonly string[]) => void = () => undefined;

  readonly saver = new ConversationSaver({
    keep: (id, change) => api.keepConversation(id, change),
    onChange: (saving) => {
      this.state = saving;
      if (saving.kind === 'saved') this.round += 1;
    },
  });

  constructor() {
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'hidden') void this.saver.flush();
    });
    addEventListener('beforeunload', (event) => {
      // A page with something the server does not have yet is not left without a question.
      if (this.state.kind === 'waiting') event.preventDefault();
    });
  }
}

export const saving = new ConversationSaving();
