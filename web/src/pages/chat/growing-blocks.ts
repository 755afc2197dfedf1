/** The blocks of a text that grows at its end: only what may still change is cut anew. */
import { splitBlocks } from '../../core/markdown';

export class GrowingBlocks {
  #settled: readonly string[] = [];
  #settledText = '';

  /** Return what `splitBlocks` returns for `text`. */
  of(text: string): readonly string[] {
    // Another text, or one with line ends that cutting has changed: its blocks tell nothing of where they were.
    if (!text.startsWith(this.#settledText)) {
      this.#settled = [];
      this.#settledText = '';
    }
    const rest = splitBlocks(text.slice(this.#settledText.length));
    const blocks = [...this.#settled, ...rest];
    this.#settled = blocks.slice(0, -1);
    this.#settledText += rest.slice(0, -1).join('');
    return blocks;
  }
}
