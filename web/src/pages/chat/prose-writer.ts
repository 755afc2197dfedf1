/**
 * Markdown in the page. Of a text that grows only the last block is rendered anew; what is before it is left alone, and
 * laid out only where somebody looks. No text is kept here: pieces of it would keep the whole in memory.
 */
import { announcer } from '../../app/announcer.svelte';
import { copyText } from '../../app/clipboard';
import { renderMarkdown, splitBlocks } from '../../core/markdown';
import { words } from '../../i18n/index.svelte';
import { shapes, type IconName } from '../../icons/shapes';
import { colour, colouring } from './colours';
import { OpenCode } from './open-code';

/** Blocks that are laid out, or left out of it, together. */
const BLOCKS_TOGETHER = 40;
/** So long a long text may be worked on before the browser gets a turn. */
const BUDGET_MS = 8;
/** So long a button says that it has copied. */
const COPIED_MS = 1600;

export class ProseWriter {
  readonly #host: HTMLElement;
  #shown: string | null = null;
  #isWhole = false;
  /** How much of the text will not change any more. */
  #settled = 0;
  #section: HTMLElement | null = null;
  /** The last block, while it may still change. */
  #tail: HTMLElement | null = null;
  #code: OpenCode | null = null;
  #waiting: string[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(host: HTMLElement) {
    this.#host = host;
    // One listener for the buttons of all code: an answer may have very many.
    host.addEventListener('click', ({ target }) => {
      const button = target instanceof Element ? target.closest('.code > button') : null;
      if (button) void copyCode(button);
    });
  }

  /** Show the text; `isGrowing` where more of it will come. */
  show(text: string, isGrowing: boolean): void {
    const now = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
    if (now === this.#shown && isGrowing !== this.#isWhole) return; // something else of the answer has changed
    if (this.#isWhole || !now.startsWith(this.#shown ?? '')) this.stop();
    this.#shown = now;
    this.#isWhole = !isGrowing;
    colouring.isCalm = this.#isWhole;
    let rest = now.slice(this.#settled);
    if (this.#code) {
      const length = this.#code.show(rest, !isGrowing);
      if (length === null) return;
      this.#finishCode(this.#code);
      this.#settled += length;
      rest = rest.slice(length);
    }
    const blocks = splitBlocks(rest);
    const last = isGrowing ? blocks.pop() : undefined;
    const done = blocks.join('').length;
    if (done > 0 || !isGrowing) this.#leaveTail();
    this.#settled += done;
    for (let at = 0; at < blocks.length; at += BLOCKS_TOGETHER) {
      this.#waiting.push(blocks.slice(at, at + BLOCKS_TOGETHER).join(''));
    }
    this.#work();
    if (last !== undefined) this.#showTail(last);
  }

  /** Take away what is shown. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#host.replaceChildren();
    this.#shown = null;
    this.#settled = 0;
    this.#section = this.#tail = this.#code = null;
  }

  #showTail(source: string): void {
    const code = OpenCode.begin(source);
    if (code && code.show(source, false) === null) {
      this.#leaveTail();
      this.#code = code;
      this.#place(framed(code.element));
      return;
    }
    this.#tail ??= this.#host.appendChild(division('section'));
    this.#tail.replaceChildren(...elementsOf(source));
  }

  #leaveTail(): void {
    this.#tail?.remove();
    this.#tail = null;
  }

  /** Render what has settled, for as long as nobody notices. */
  #work(): void {
    clearTimeout(this.#timer);
    const began = performance.now();
    for (let source; (source = this.#waiting.shift()) !== undefined;) {
      for (const element of elementsOf(source)) this.#place(this.#dressed(element));
      if (this.#waiting.length > 0 && this.#isWhole && performance.now() - began > BUDGET_MS) {
        this.#timer = setTimeout(() => this.#work());
        return;
      }
    }
  }

  #place(element: HTMLElement): void {
    if (!this.#section || this.#section.childElementCount >= BLOCKS_TOGETHER) {
      this.#section?.classList.add('full');
      this.#section = division('section');
      this.#host.insertBefore(this.#section, this.#tail);
    }
    this.#section.append(element);
  }

  /** Code gets colours, and a button to copy it. */
  #dressed(element: HTMLElement): HTMLElement {
    const frame = element.localName === 'pre' ? framed(element) : element;
    for (const block of frame.querySelectorAll('pre')) {
      const code = block.querySelector('code') ?? block;
      const target = block.parentElement?.className === 'code' ? block.parentElement : framed(block);
      target.append(copyButton());
      colour(code);
    }
    return frame;
  }

  #finishCode(code: OpenCode): void {
    this.#code = null;
    code.element.after(copyButton());
    colour(code.code);
  }
}

function elementsOf(source: string): HTMLElement[] {
  return [...renderMarkdown(source).children].filter((child) => child instanceof HTMLElement);
}

/** Put a block of code into what its button is placed by. */
function framed(block: HTMLElement): HTMLElement {
  const frame = division('code');
  block.replaceWith(frame);
  block.tabIndex = 0;
  frame.append(block);
  return frame;
}

function division(className: string): HTMLElement {
  const element = document.createElement('div');
  element.className = className;
  return element;
}

/** As `CopyButton`, which would keep far more for each. */
function copyButton(): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'quiet small icon';
  button.ariaLabel = button.title = words.t.chat.copyCode;
  button.append(icon('copy'));
  return button;
}

async function copyCode(button: Element): Promise<void> {
  const isCopied = await copyText(button.previousElementSibling?.textContent ?? '');
  announcer.say(isCopied ? words.t.common.copied : words.t.common.copyFailed);
  if (!isCopied) return;
  button.replaceChildren(icon('check'));
  setTimeout(() => button.replaceChildren(icon('copy')), COPIED_MS);
}

function icon(name: IconName): SVGElement {
  const SVG = 'http://www.w3.org/2000/svg';
  const drawing = document.createElementNS(SVG, 'svg');
  for (const [attribute, value] of Object.entries({ viewBox: '0 0 24 24', width: 16, height: 16 })) {
    drawing.setAttribute(attribute, String(value));
  }
  drawing.ariaHidden = 'true';
  for (const stroke of shapes[name]) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', stroke);
    drawing.append(path);
  }
  return drawing;
}
