/** One JSON value a line, read as they arrive, wherever the network cuts the text. */

import { parseJson } from './narrow';
import { readText } from './read-text';

/** Read a response body's values; a line that is no JSON is left out. Leaving the loop early cancels the body. */
export async function* readNdjson(body: ReadableStream<Uint8Array>): AsyncGenerator<unknown> {
  let rest = '';
  for await (const text of readText(body)) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    yield* valuesOf(lines);
  }
  yield* valuesOf([rest]);
}

function valuesOf(lines: readonly string[]): unknown[] {
  return lines.map(parseJson).filter((value) => value !== undefined);
}
