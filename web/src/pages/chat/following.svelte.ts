/** Keeps the end of the document in view while it grows, until the reader scrolls away from it. */
import type { Attachment } from 'svelte/attachments';

const NEAR_PX = 80;

export class Following {
  /** Whether the end is in view and stays there. */
  atEnd = $state(true);
  #lastY = 0;

  /** Attach to what grows. Sizes are known before anything is painted, so the end is never seen to jump. */
  readonly watch: Attachment = (element) => {
    const observer = new ResizeObserver(() => {
      if (this.atEnd && element.childElementCount > 0) this.toEnd();
    });
    observer.observe(element);
    return () => observer.disconnect();
  };

  /** Call on every scroll of the window. */
  scrolled(): void {
    const { scrollHeight, clientHeight } = document.documentElement;
    const near = scrollHeight - clientHeight - scrollY < NEAR_PX;
    // More may have been written since the scroll that this tells of, so being far from the end proves nothing:
    // only going up leaves it.
    this.atEnd = near || (this.atEnd && scrollY >= this.#lastY);
    this.#lastY = scrollY;
  }

  toEnd(): void {
    this.atEnd = true;
    scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
  }
}
