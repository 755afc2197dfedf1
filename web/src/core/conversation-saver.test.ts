import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiFailure, type ConversationChange } from './api/console';
import { ConversationSaver, type Saving, type Snapshot } from './conversation-saver';
import type { StoredMessage } from './stored-conversation';

function said(id: string, text: string, parent: string | null = null): StoredMessage {
  return { id, parent, role: 'user', text, created_at: 1 };
}

function snapshot(...messages: StoredMessage[]): Snapshot {
  const head = messages.at(-1)?.id ?? '';
  return { kind: 'text', model: 'm', provider: 'p', settings: {}, head, messages };
}

class Server {
  readonly sent: [string, ConversationChange][] = [];
  readonly states: Saving['kind'][] = [];
  fail: (() => Error | null)[] = [];
  readonly saver = new ConversationSaver({
    keep: async (id, change) => {
      const failure = this.fail.shift()?.();
      if (failure) throw failure;
      this.sent.push([id, change]);
    },
    onChange: ({ kind }) => this.states.push(kind),
  });

  get ids(): string[][] {
    return this.sent.map(([, { messages }]) => (messages ?? []).map(({ id }) => id));
  }
}

const away = () => ApiFailure.unreachable();

describe('the saver', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('sends what is new once, and nothing when nothing has changed', async () => {
    const server = new Server();
    server.saver.note('c', () => snapshot(said('a', 'x')), true);
    await vi.runAllTimersAsync();
    server.saver.note('c', () => snapshot(said('a', 'x')), true);
    await vi.runAllTimersAsync();
    server.saver.note('c', () => snapshot(said('a', 'x'), said('b', 'y', 'a')), true);
    await vi.runAllTimersAsync();
    expect(server.ids).toEqual([['a'], ['b']]);
    expect(server.sent[1]?.[1].head).toBe('b');
    expect(server.states.at(-1)).toBe('saved');
  });

  it('sends a message again that has grown, and the head when another branch is shown', async () => {
    const server = new Server();
    server.saver.loaded('c', snapshot(said('a', 'x'), said('b', 'y')));
    server.saver.note('c', () => snapshot(said('a', 'x'), said('b', 'y and more')), true);
    await vi.runAllTimersAsync();
    server.saver.note('c', () => ({ ...snapshot(said('a', 'x'), said('b', 'y and more')), head: 'a' }), true);
    await vi.runAllTimersAsync();
    expect(server.ids).toEqual([['b'], []]);
    expect(server.sent[1]?.[1].head).toBe('a');
  });

  it('keeps what the server does not take now, and sends it when the server is back', async () => {
    const server = new Server();
    server.fail = [away, away, () => new ApiFailure(503)];
    server.saver.note('c', () => snapshot(said('a', 'x')), true);
    server.saver.note('d', () => snapshot(said('b', 'y')), true);
    await vi.advanceTimersByTimeAsync(1000);
    expect(server.states.at(-1)).toBe('waiting');
    expect(server.sent).toEqual([]);
    await vi.runAllTimersAsync();
    expect(server.sent.map(([id]) => id)).toEqual(['c', 'd']);
    expect(server.states.at(-1)).toBe('saved');
  });

  it('says what is refused, sends the others, and tries again when asked', async () => {
    const server = new Server();
    server.fail = [() => new ApiFailure(401, 'sign_in', 'Sign in.')];
    server.saver.note('c', () => snapshot(said('a', 'x')), true);
    server.saver.note('d', () => snapshot(said('b', 'y')), true);
    await vi.runAllTimersAsync();
    expect(server.states.at(-1)).toBe('refused');
    expect(server.sent.map(([id]) => id)).toEqual(['d']);
    await server.saver.retry();
    expect(server.sent.map(([id]) => id)).toEqual(['d', 'c']);
    expect(server.states.at(-1)).toBe('saved');
  });

  it('sends a conversation whole that another page has deleted', async () => {
    const server = new Server();
    server.saver.loaded('c', snapshot(said('a', 'x')));
    server.fail = [() => new ApiFailure(400, 'malformed_request')];
    server.saver.note('c', () => snapshot(said('a', 'x'), said('b', 'y', 'a')), true);
    await vi.runAllTimersAsync();
    expect(server.ids).toEqual([['a', 'b']]);
  });

  it('sends nothing of a conversation that was deleted, until it turns out that it was not', async () => {
    const server = new Server();
    server.saver.note('c', () => snapshot(said('a', 'x')), true);
    await server.saver.forget(null);
    server.saver.note('c', () => snapshot(said('a', 'x')), true);
    await vi.runAllTimersAsync();
    expect(server.sent).toEqual([]);
    server.saver.remember();
    server.saver.note('c', () => snapshot(said('a', 'x')), true);
    await vi.runAllTimersAsync();
    expect(server.ids).toEqual([['a']]);
  });

  it('sends long conversations in portions, and the head with the last', async () => {
    const server = new Server();
    const long = 'x'.repeat(600_000);
    server.saver.note('c', () => snapshot(said('a', long), said('b', long, 'a'), said('d', 'y', 'b')), true);
    await vi.runAllTimersAsync();
    expect(server.ids).toEqual([['a'], ['b', 'd']]);
    expect(server.sent.map(([, { head }]) => head)).toEqual([undefined, 'd']);
  });

  it('sends what changes while something is on its way', async () => {
    const server = new Server();
    let arrived = (): void => undefined;
    const slow = new ConversationSaver({
      keep: async (id, change) => {
        await new Promise<void>((resolve) => (arrived = resolve));
        server.sent.push([id, change]);
      },
      onChange: () => undefined,
    });
    slow.note('c', () => snapshot(said('a', 'x')), true);
    await vi.advanceTimersByTimeAsync(1000);
    slow.note('c', () => snapshot(said('a', 'x'), said('b', 'y', 'a')), true);
    arrived();
    await vi.advanceTimersByTimeAsync(1000);
    arrived();
    await vi.advanceTimersByTimeAsync(1000);
    expect(server.ids).toEqual([['a'], ['b']]);
  });
});
