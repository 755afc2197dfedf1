import { describe, expect, it } from 'vitest';

import { recordOfCall } from './call-record';
import type { SessionSummary } from './console';

const record = (id: string, caller: string) => ({ id, caller }) as SessionSummary;

/** A gateway whose answers come in turn, the last of them again and again. */
function gateway(...answers: SessionSummary[][]) {
  const asked: string[] = [];
  const api = {
    call: async <Answer>(_: string, path: string): Promise<Answer> => {
      asked.push(path);
      return { records: answers[Math.min(asked.length, answers.length) - 1], next: null } as Answer;
    },
  };
  return { api, asked };
}

const { signal } = new AbortController();
const now = async () => undefined;

describe('recordOfCall', () => {
  it('finds the session by the secret that opened it, among those of others', async () => {
    const { api } = gateway([record('B', 'client secret sec_2'), record('A', 'client secret sec_1')]);
    expect((await recordOfCall(api, 'sec_1', signal, now))?.id).toBe('A');
  });

  it('looks again while the record is not written yet', async () => {
    const { api, asked } = gateway([], [], [record('A', 'client secret sec_1')]);
    expect((await recordOfCall(api, 'sec_1', signal, now))?.id).toBe('A');
    expect(asked).toHaveLength(3);
  });

  it('gives up where none is kept, and when the page is left', async () => {
    const { api, asked } = gateway([]);
    expect(await recordOfCall(api, 'sec_1', signal, now)).toBeNull();
    expect(asked).toHaveLength(4);
    await expect(recordOfCall(api, 'sec_1', AbortSignal.abort(), now)).rejects.toThrow();
    expect(asked).toHaveLength(4);
  });
});
