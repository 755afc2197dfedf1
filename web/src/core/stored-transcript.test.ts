import { describe, expect, it } from 'vitest';

import type { Transcript } from './realtime/reducer';
import { ofTranscript } from './stored-transcript';

describe('what is said in a call', () => {
  const item = { role: 'user', parts: [], status: 'completed' } as const;

  it('is stored in order up to the first words that are still open', () => {
    const transcript: Transcript = {
      items: [
        { ...item, id: 'item.1', text: 'Hello' },
        { ...item, id: 'noise', text: ' ' },
        { ...item, id: 'b', role: 'assistant', text: 'Hi the', status: 'interrupted', interruptedAtMs: 300 },
        { ...item, id: 'c', text: '', status: 'in_progress' },
        { ...item, id: 'd', role: 'assistant', text: 'Yes?' },
      ],
    };
    expect(ofTranscript(transcript, 'rt', (id) => (id === 'b' ? 2 : 1))).toEqual([
      {
        id: 'item_1',
        parent: null,
        role: 'user',
        text: 'Hello',
        created_at: 1,
        model: '',
        status: 'complete',
        details: {},
      },
      {
        id: 'b',
        parent: 'item_1',
        role: 'assistant',
        text: 'Hi the',
        created_at: 2,
        model: 'rt',
        status: 'interrupted',
        details: { interrupted_at_ms: 300 },
      },
    ]);
  });
});
