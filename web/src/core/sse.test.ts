import { describe, expect, it } from 'vitest';

import { readSse, SseParser, type SseEvent } from './sse';

function readInPieces(text: string, size: number): SseEvent[] {
  const parser = new SseParser();
  const events: SseEvent[] = [];
  for (let start = 0; start < text.length; start += size) {
    events.push(...parser.feed(text.slice(start, start + size)));
  }
  return [...events, ...parser.end()];
}

function bodyOf(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function collected(body: ReadableStream<Uint8Array>): Promise<string[]> {
  const found: string[] = [];
  for await (const { data } of readSse(body)) found.push(data);
  return found;
}

describe('SseParser', () => {
  const streams = {
    'line feeds': 'data: one\n\ndata: two\n\n',
    'carriage returns with line feeds': 'data: one\r\n\r\ndata: two\r\n\r\n',
    'carriage returns alone': 'data: one\r\rdata: two\r\r',
    'comments and unknown fields between': ': ping\n\ndata: one\nfoo: bar\n\n:\n\ndata: two\n\n',
    'no blank after the colon': 'data:one\n\ndata:two\n\n',
    'no blank line at the end': 'data: one\n\ndata: two',
    'a byte order mark': '\uFEFFdata: one\n\ndata: two\n\n',
  };

  for (const [name, text] of Object.entries(streams)) {
    it(`reads a stream with ${name}, wherever it is cut`, () => {
      for (let size = 1; size <= text.length; size += 1) {
        expect(readInPieces(text, size).map(({ data }) => data)).toEqual(['one', 'two']);
      }
    });
  }

  it('joins several data lines and keeps empty ones', () => {
    expect(readInPieces('data: a\ndata:\ndata: b\n\n', 100)[0]?.data).toBe('a\n\nb');
  });

  it('does not take the halves of a line end in two pieces for two line ends', () => {
    const text = 'data: a\r\ndata: b\r\n\r\n';
    for (let size = 1; size <= text.length; size += 1) {
      expect(readInPieces(text, size).map(({ data }) => data)).toEqual(['a\nb']);
    }
  });

  it('takes off one blank only and leaves colons in the value', () => {
    expect(readInPieces('data:  {"a": 1}\n\n', 100)[0]?.data).toBe(' {"a": 1}');
  });

  it('names an event for that event alone and remembers the id for those that follow', () => {
    expect(readInPieces('event: error\nid: 7\ndata: x\n\ndata: y\n\n', 3)).toEqual([
      { event: 'error', id: '7', data: 'x' },
      { event: 'message', id: '7', data: 'y' },
    ]);
  });

  it('reports an event as soon as it is complete', () => {
    const parser = new SseParser();
    expect(parser.feed('data: one\n')).toEqual([]);
    expect(parser.feed('\n')).toHaveLength(1);
  });

  it('takes an empty data field for an event', () => {
    expect(readInPieces('data\n\n', 100).map(({ data }) => data)).toEqual(['']);
  });
});

describe('readSse', () => {
  const text = 'data: Grüße 👋\n\ndata: 日本語\n\n';

  it('puts characters together that a chunk border cuts', async () => {
    const bytes = new TextEncoder().encode(text);
    expect(await collected(bodyOf(...Array.from(bytes, (byte) => Uint8Array.of(byte))))).toEqual([
      'Grüße 👋',
      '日本語',
    ]);
  });

  it('cancels the body when its reader leaves early', async () => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('data: more\n\n')),
      cancel: () => {
        cancelled = true;
      },
    });
    for await (const { data } of readSse(body)) {
      expect(data).toBe('more');
      break;
    }
    expect(cancelled).toBe(true);
  });

  it('passes on the error of a body that breaks', async () => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('data: one\n\n'));
      },
      pull(controller) {
        controller.error(new TypeError('network'));
      },
    });
    await expect(collected(body)).rejects.toThrow('network');
  });
});
