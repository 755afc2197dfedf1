/** One import after another of a file with conversations, and how it fares. */
import { api } from '../../app/console.svelte';
import { ApiFailure, type ImportEvent } from '../../core/api/console';

export class Import {
  /** The last news; null before the first file, and where one could not be sent. */
  event = $state.raw<ImportEvent | 'uploading' | null>(null);
  /** The entries that were left out, each with the reason. */
  leftOut = $state.raw<readonly string[]>([]);
  /** Why the last import failed; empty when it did not. */
  problem = $state('');

  /** Import a file. Never rejects: see `problem`. */
  async read(file: File): Promise<void> {
    this.event = 'uploading';
    this.leftOut = [];
    this.problem = '';
    try {
      for await (const event of api.importConversations(file)) {
        if (event.event === 'skipped') this.leftOut = [...this.leftOut, event.message ?? ''];
        else if (event.event === 'failed') this.problem = event.message ?? '';
        else this.event = event;
      }
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.problem = error.message;
    }
    // What has not come to its end is at an end all the same.
    if (this.event === 'uploading' || this.event?.event === 'progress') this.event = null;
  }
}
