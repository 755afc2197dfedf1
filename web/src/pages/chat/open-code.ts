/** A code block that is still being written: text is only ever appended to it, however long it gets. */

const OPENING = /^( {0,3})(`{3,}(?=[^`\n]*\n)|~{3,})[ \t]*([^\n]*)\n/;
/** What may yet become the end of the code. */
const PERHAPS_CLOSING = /^ {0,3}(?:`+|~+)[ \t]*$/;
/** Lines that are laid out together: the browser lays out anew all of those that one is added to. */
const LINES_TOGETHER = 100;

export class OpenCode {
  readonly element = document.createElement('pre');
  readonly code = document.createElement('code');
  readonly #indent: RegExp;
  readonly #closing: RegExp;
  /** Of the source: the beginning of its last line. */
  #at: number;
  #piece = new Text();
  #lines = 0;
  /** The last line, which has no end yet. */
  readonly #rest = new Text();

  private constructor(opening: RegExpExecArray) {
    const [whole, indent = '', fence = '', info = ''] = opening;
    this.#at = whole.length;
    this.#indent = new RegExp(`^ {0,${indent.length}}`);
    this.#closing = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}[ \\t]*$`);
    const language = /^\S+/.exec(info)?.[0];
    if (language) this.code.className = `language-${language}`;
    this.code.append(this.#rest);
    this.element.append(this.code);
    this.#turn();
  }

  /** Begin with a block of markdown; null for one that is no code between fences. */
  static begin(source: string): OpenCode | null {
    const opening = OPENING.exec(source);
    return opening && new OpenCode(opening);
  }

  /**
   * Take the source as it is now. Return how much of it the code is once it has ended: by its fence, or with the text
   * where that `isOver`; else null.
   */
  show(source: string, isOver: boolean): number | null {
    let text = '';
    for (let end; (end = source.indexOf('\n', this.#at)) !== -1; this.#at = end + 1) {
      const line = source.slice(this.#at, end);
      if (this.#closing.test(line)) {
        this.#append(text);
        this.#rest.remove();
        return end + 1;
      }
      text += `${line.replace(this.#indent, '')}\n`;
      this.#lines += 1;
      if (this.#lines >= LINES_TOGETHER) {
        this.#append(text);
        text = '';
        this.#turn();
      }
    }
    this.#append(text);
    const rest = source.slice(this.#at);
    const isEnd = isOver ? this.#closing.test(rest) : PERHAPS_CLOSING.test(rest);
    this.#rest.data = isEnd ? '' : rest.replace(this.#indent, '');
    return isOver ? source.length : null;
  }

  #append(text: string): void {
    if (text !== '') this.#piece.appendData(text);
  }

  #turn(): void {
    this.#lines = 0;
    const piece = document.createElement('span');
    piece.className = 'lines';
    piece.append((this.#piece = new Text()));
    this.code.insertBefore(piece, this.#rest);
  }
}
