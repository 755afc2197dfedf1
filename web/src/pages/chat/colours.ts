/** Colours for code, found when nothing else is to be done: first for what came last, since that is what is looked at. */

/** Longer code stays without colours: to find them would stop the page. */
const MOST_COLOURED = 20_000;
/** While text comes, colours may wait: each makes the page lay itself out anew. */
const BETWEEN_MS = 400;
/** So many times as long as finding colours took, others have their turn. */
const REST = 5;

export const colouring = {
  /** Whether no text is coming. */
  isCalm: true,
};

const plain: Element[] = [];
let isUnderWay = false;

/** Colour a `code` element whose class names a language that is known, soon. */
export function colour(code: Element): void {
  if (languageOf(code) === '' || code.textContent.length > MOST_COLOURED) return;
  plain.push(code);
  if (!isUnderWay) whenIdle();
}

async function colourNext(): Promise<void> {
  const { highlight } = await import('./highlighter');
  const began = performance.now();
  const code = plain.pop();
  const coloured = code?.isConnected ? highlight(code.textContent, languageOf(code)) : null;
  if (coloured) code?.replaceChildren(coloured);
  const rest = REST * (performance.now() - began);
  isUnderWay = false;
  if (plain.length > 0) setTimeout(whenIdle, colouring.isCalm ? rest : Math.max(rest, BETWEEN_MS));
}

function whenIdle(): void {
  if (isUnderWay) return;
  isUnderWay = true;
  // Safari has no such thing.
  if ('requestIdleCallback' in globalThis) requestIdleCallback(() => void colourNext());
  else setTimeout(() => void colourNext());
}

function languageOf(code: Element): string {
  return /(?:^|\s)language-(\S+)/.exec(code.className)?.[1] ?? '';
}
