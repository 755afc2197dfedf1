/** One block of markdown in the page, made fit for its surroundings once it no longer changes. */
import { mount, unmount } from 'svelte';
import type { Attachment } from 'svelte/attachments';

import CopyButton from '../../app/CopyButton.svelte';
import { renderMarkdown } from '../../core/markdown';
import { words } from '../../i18n/index.svelte';

/** Show `source` in the element. A block that is still being written gets no colours and no buttons. */
export function renderedBlock(source: string, settled: boolean): Attachment<HTMLElement> {
  return (host) => {
    const fragment = renderMarkdown(source);
    lowerHeadings(fragment);
    replaceCheckboxes(fragment);
    letScroll(fragment);
    host.replaceChildren(fragment);
    return settled ? dressCode(host) : undefined;
  };
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
    const frame = document.createElement('div');
    frame.className = 'scroller';
    frame.tabIndex = 0;
    table.replaceWith(frame);
    frame.append(table);
  }
}

/** Colour code blocks and give each a button to copy it; return what undoes it. */
function dressCode(host: HTMLElement): () => void {
  const buttons = [...host.querySelectorAll('pre')].map((block) => {
    const code = block.querySelector('code') ?? block;
    const text = code.textContent;
    void colour(code, text);
    const target = document.createElement('div');
    target.className = 'code';
    block.replaceWith(target);
    target.append(block);
    return mount(CopyButton, { target, props: { text: () => text, label: words.t.chat.copyCode } });
  });
  return () => buttons.forEach((button) => void unmount(button));
}

async function colour(code: HTMLElement, text: string): Promise<void> {
  const language = /(?:^|\s)language-(\S+)/.exec(code.className)?.[1];
  if (!language) return;
  const { highlight } = await import('./highlighter');
  const coloured = highlight(text, language);
  if (coloured) code.replaceChildren(coloured);
}
