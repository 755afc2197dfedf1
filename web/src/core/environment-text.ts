/**
 * Texts in which `${NAME}` stands for an environment variable: a request that is copied names its keys so. Text of
 * somebody else goes through `literally`, lest it read variables of whoever runs the copy; `$${` is then a plain `${`.
 */

const REFERENCE = /(?<!\$)\$\{([A-Z][A-Z0-9_]*)\}/;

/** A text as one that says just the same, with no reference in it. */
export function literally(text: string): string {
  return text.replaceAll('${', () => '$${');
}

/** The variables of a text, in the order in which they are named. */
export function variablesIn(text: string): string[] {
  return piecesOf(text).filter((_, place) => place % 2 === 1);
}

/** What stands literally, and between every two such pieces, which may be empty, the name of a variable. */
export function piecesOf(text: string): string[] {
  return text
    .split(REFERENCE)
    .map((piece, place) => (place % 2 === 1 ? piece : piece.replaceAll('$${', () => '${')));
}

/**
 * A URL, absolute and percent-encoded, with its references as they were. They may stand in its path and its query; what
 * a variable holds is put there as it is.
 */
export function absoluteUrl(url: string, base: string | undefined): string {
  const [beginning = '', ...rest] = piecesOf(url);
  const encoded = rest.map((piece, place) =>
    // Escapes are there already where they are meant.
    place % 2 === 0 ? `\${${piece}}` : literally(encodeURI(piece).replaceAll('%25', '%')),
  );
  return literally(new URL(beginning, base).href) + encoded.join('');
}
