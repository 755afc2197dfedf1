/** The blocks of a text that grows at its end: only what may still change is cut anew. */
import { splitBlocks } from '../../core/markdown';

export class GrowingBlocks {
  #settled: readonly string[] = [];
  #settledText = '';

  /** Return the blocks of `text`; joined, they are the text. */
  of(text: string): readonly string[] {
    if (!text.startsWith(this.#settledText)) {
      this.#settled = [];
      this.#settledText = '';
    }
    const rest = splitBlocks(text.slice(this.#settledText.length));
    const blocks = [...this.#settled, ...rest];
    this.#settled = blocks.slice(0, -1);
    this.#settledText = text.slice(0, text.length - (blocks.at(-1)?.length ?? 0));
    return blocks;
  }
}
