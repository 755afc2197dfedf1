/** Server-sent events, read as the HTML standard parses them, whatever borders the network cuts the text at. */

import { readText } from './read-text';

export interface SseEvent {
  /** `message` unless the stream named it. */
  event: string;
  /** The `data` lines joined by line feeds. */
  data: string;
  /** The last `id` seen up to this event. */
  id: string;
}

export class SseParser {
  #rest = '';
  #atStart = true;
  #skipLineFeed = false;
  #data: string[] = [];
  #event = '';
  #id = '';

  /** Take the next piece of the stream; return the events it completes. */
  feed(text: string): SseEvent[] {
    if (text === '') return [];
    const found: SseEvent[] = [];
    let buffer = this.#rest + this.#withoutMark(text);
    if (this.#skipLineFeed) {
      // The last piece ended in CR; an LF now belongs to the same line end.
      this.#skipLineFeed = false;
      if (buffer.startsWith('\n')) buffer = buffer.slice(1);
    }
    let start = 0;
    // What was left over holds no line end, so a long line is not searched again with every piece.
    for (let end = lineEnd(buffer, this.#rest.length); end !== -1; end = lineEnd(buffer, start)) {
      this.#line(buffer.slice(start, end), found);
      start = end + 1;
      if (buffer[end] === '\r') {
        if (start === buffer.length) this.#skipLineFeed = true;
        else if (buffer[start] === '\n') start += 1;
      }
    }
    this.#rest = buffer.slice(start);
    return found;
  }

  /** The stream is over. Servers often forget the closing blank line, so what is there counts as an event. */
  end(): SseEvent[] {
    const found: SseEvent[] = [];
    if (this.#rest !== '') this.#line(this.#rest, found);
    this.#rest = '';
    this.#dispatch(found);
    return found;
  }

  #withoutMark(text: string): string {
    if (!this.#atStart) return text;
    this.#atStart = false;
    return text.startsWith('\uFEFF') ? text.slice(1) : text;
  }

  #line(line: string, found: SseEvent[]): void {
    if (line === '') {
      this.#dispatch(found);
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return; // a comment
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
  }

  #dispatch(found: SseEvent[]): void {
    if (this.#data.length > 0) {
      found.push({ event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id });
    }
    this.#data = [];
    this.#event = '';
  }
}

function lineEnd(text: string, from: number): number {
  for (let index = from; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === 10 || code === 13) return index;
  }
  return -1;
}

/** Read a response body as events. Leaving the loop early cancels the body. */
export async function* readSse(body: ReadableStream<Uint8Array>): AsyncGenerator<SseEvent> {
  const parser = new SseParser();
  for await (const text of readText(body)) yield* parser.feed(text);
  yield* parser.end();
}
