import { describe, expect, it } from 'vitest';

import { readNdjson } from './ndjson';

const LINES = [{ type: 'a', text: 'ä\n€' }, { type: 'b' }, [1]];
const TEXT = LINES.map((line) => JSON.stringify(line)).join('\n');

async function read(pieces: Uint8Array[]): Promise<unknown[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
  const values: unknown[] = [];
  for await (const value of readNdjson(body)) values.push(value);
  return values;
}

const whole = (text: string): Uint8Array[] => [new TextEncoder().encode(text)];

describe('readNdjson', () => {
  it('reads every line, with and without the last line end', async () => {
    expect(await read(whole(TEXT))).toEqual(LINES);
    expect(await read(whole(`${TEXT}\n`))).toEqual(LINES);
  });

  it('reads the same one byte at a time', async () => {
    const bytes = [...new TextEncoder().encode(`${TEXT}\r\n`)];
    expect(await read(bytes.map((byte) => Uint8Array.of(byte)))).toEqual(LINES);
  });

  it('passes over what is no JSON', async () => {
    expect(await read(whole('\n{"cut": \n<html>\n{"type":"b"}\n\n'))).toEqual([{ type: 'b' }]);
    expect(await read([])).toEqual([]);
  });

  it('cancels the body when nobody reads on', async () => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('{}\n')),
      cancel: () => void (cancelled = true),
    });
    const lines = readNdjson(body);
    await lines.next();
    await lines.return(undefined);
    expect(cancelled).toBe(true);
  });
});
