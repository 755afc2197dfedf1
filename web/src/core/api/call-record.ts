/** What the gateway kept of a call that has just ended. */

import type { ConsoleApi, RecordPage, SessionSummary } from './console';

/** A record is written when its session has ended, which is not quite when the page has. Milliseconds. */
const LOOKS_AFTER = [150, 600, 1500, 3000];
const PAGE = 50;

/** Return the record of the session that a client secret opened, or null where none is kept. Throws `ApiFailure`. */
export async function recordOfCall(
  api: Pick<ConsoleApi, 'call'>,
  secretId: string,
  signal: AbortSignal,
  pause: (ms: number) => Promise<void> = wait,
): Promise<SessionSummary | null> {
  const caller = `client secret ${secretId}`;
  for (const delay of LOOKS_AFTER) {
    await pause(delay);
    signal.throwIfAborted();
    const path = `/api/realtime/records?open=false&limit=${PAGE}`;
    const { records } = await api.call<RecordPage>('GET', path, undefined, signal);
    const found = records.find((record) => record.caller === caller);
    if (found) return found;
  }
  return null;
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
