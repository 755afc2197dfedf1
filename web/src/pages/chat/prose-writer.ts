/**
 * Markdown in the page. Of a text that grows only the last block is rendered anew; what is before it is left alone, and
 * laid out only where somebody looks. No text is kept here: pieces of it would keep the whole in memory.
 */
import { mount, unmount } from 'svelte';

import CopyButton from '../../app/CopyButton.svelte';
import { renderMarkdown, splitBlocks } from '../../core/markdown';
import { words } from '../../i18n/index.svelte';
import { OpenCode } from './open-code';

/** Blocks that are laid out, or left out of it, together. */
const BLOCKS_TOGETHER = 40;
/** So long a long text may be worked on before the browser gets a turn. */
const BUDGET_MS = 8;
/** Longer code stays without colours: to find them would stop the page. */
const MOST_COLOURED = 20_000;

export class ProseWriter {
  readonly #host: HTMLElement;
  #shown = '';
  #isWhole = false;
  /** How much of the text will not change any more. */
  #settled = 0;
  #section: HTMLElement | null = null;
  /** The last block, while it may still change. */
  #tail: HTMLElement | null = null;
  #code: OpenCode | null = null;
  #waiting: string[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #undo: (() => void)[] = [];

  constructor(host: HTMLElement) {
    this.#host = host;
  }

  /** Show the text; `isGrowing` where more of it will come. */
  show(text: string, isGrowing: boolean): void {
    const now = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
    if (this.#isWhole || !now.startsWith(this.#shown)) this.stop();
    this.#shown = now;
    this.#isWhole = !isGrowing;
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
    for (const undo of this.#undo) undo();
    this.#undo = [];
    this.#waiting = [];
    this.#host.replaceChildren();
    this.#shown = '';
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
      this.#offerCopy(target, code);
      void colour(code);
    }
    return frame;
  }

  #finishCode(code: OpenCode): void {
    this.#code = null;
    if (code.element.parentElement) this.#offerCopy(code.element.parentElement, code.code);
    void colour(code.code);
  }

  #offerCopy(target: HTMLElement, code: Element): void {
    const text = () => code.textContent;
    const button = mount(CopyButton, { target, props: { text, label: words.t.chat.copyCode } });
    this.#undo.push(() => void unmount(button));
  }
}

function elementsOf(source: string): HTMLElement[] {
  const fragment = renderMarkdown(source);
  lowerHeadings(fragment);
  replaceCheckboxes(fragment);
  letScroll(fragment);
  return [...fragment.children].filter((child) => child instanceof HTMLElement);
}

/** The page's own headings come first in its outline. */
function lowerHeadings(fragment: DocumentFragment): void {
  for (const heading of fragment.querySelectorAll('h1, h2, h3, h4, h5, h6')) {
    const lowered = document.createElement('h3');
    lowered.className = heading.localName;
    lowered.replaceChildren(...heading.childNodes);
    heading.replaceWith(lowered);
  }
}

/** The boxes of a task list are no controls. */
function replaceCheckboxes(fragment: DocumentFragment): void {
  for (const box of fragment.querySelectorAll('input')) box.replaceWith(box.checked ? '☑ ' : '☐ ');
}

/** What is wider than the page scrolls by itself, with the keyboard as well. */
function letScroll(fragment: DocumentFragment): void {
  for (const code of fragment.querySelectorAll('pre')) code.tabIndex = 0;
  for (const table of fragment.querySelectorAll('table')) {
    const frame = division('scroller');
    frame.tabIndex = 0;
    table.replaceWith(frame);
    frame.append(table);
  }
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

async function colour(code: Element): Promise<void> {
  const language = /(?:^|\s)language-(\S+)/.exec(code.className)?.[1];
  const text = code.textContent;
  if (!language || text.length > MOST_COLOURED) return;
  const { highlight } = await import('./highlighter');
  const coloured = highlight(text, language);
  if (coloured) code.replaceChildren(coloured);
}
