/** What is said in a call as the server keeps it. */

import type { Transcript, TranscriptStatus } from './realtime/reducer';
import type { StoredMessage } from './stored-conversation';

/** What both sides have said so far, up to the first words that are still open: a thread without branches. */
export function ofTranscript(
  transcript: Transcript,
  model: string,
  createdAt: (id: string) => number,
): StoredMessage[] {
  const messages: StoredMessage[] = [];
  for (const { id, role, text, status, interruptedAtMs, audioMs } of transcript.items) {
    if (status === 'in_progress') break;
    if (text.trim() === '') continue;
    messages.push({
      id: idOf(id),
      parent: messages.at(-1)?.id ?? null,
      role,
      text,
      created_at: createdAt(id),
      model: role === 'assistant' ? model : '',
      status: SPOKEN[status],
      details: {
        ...(interruptedAtMs === undefined ? {} : { interrupted_at_ms: interruptedAtMs }),
        ...(audioMs === undefined ? {} : { audio_ms: audioMs }),
      },
    });
  }
  return messages;
}

const SPOKEN: Readonly<
  Record<Exclude<TranscriptStatus, 'in_progress'>, 'complete' | 'interrupted' | 'failed'>
> = {
  completed: 'complete',
  interrupted: 'interrupted',
  failed: 'failed',
};

/** Providers choose the ids of what is said; here they have one form. */
function idOf(id: string): string {
  return id.replace(/[^A-Za-z0-9_-]/g, '_').slice(-64);
}
