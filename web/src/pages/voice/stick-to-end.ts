/** Keeps a scrolling element at its end while its content grows, unless the reader has scrolled away from there. */
const NEAR_PX = 40;

export function stickToEnd(element: HTMLElement): () => void {
  let atEnd = true;
  const look = () => {
    atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_PX;
  };
  let frame = 0;
  // Once a frame: asking for the height lays the page out, and text comes in many small pieces.
  const follow = new MutationObserver(() => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (atEnd) element.scrollTop = element.scrollHeight;
    });
  });
  element.addEventListener('scroll', look, { passive: true });
  follow.observe(element, { childList: true, characterData: true, subtree: true });
  return () => {
    follow.disconnect();
    cancelAnimationFrame(frame);
    element.removeEventListener('scroll', look);
  };
}
