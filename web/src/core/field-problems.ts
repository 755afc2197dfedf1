/** Which fields of a form a refusal of the gateway is about. */

/** Words for each field at fault by its name; `form` are those that are about none of them. */
export type Problems = Readonly<Record<string, string | undefined>>;

/**
 * Divide what the gateway said. It names a field before its fault (`budget: …`, several of them with semicolons), or
 * behind it by a path (`… - at \`$.cache.ttl\``); of a field written `a.b` only the last word is looked for.
 */
export function problemsAt(message: string, fields: readonly string[]): Problems {
  const problems: Record<string, string> = {};
  for (const part of partsOf(message, fields)) {
    const field = fields.find((name) => isAbout(part, name)) ?? 'form';
    problems[field] = problems[field] === undefined ? part : `${problems[field]} ${part}`;
  }
  return problems;
}

function partsOf(message: string, fields: readonly string[]): readonly string[] {
  const names = fields.map((field) => lastWord(field)).join('|');
  return names === '' ? [message] : message.split(new RegExp(`; (?=(?:${names}): )`));
}

function isAbout(part: string, field: string): boolean {
  const word = lastWord(field);
  return new RegExp(`(?:^|[:.] ?)${word}(?:\\[[^\\]]*\\])*(?::|\`)`).test(part);
}

function lastWord(field: string): string {
  return field.slice(field.lastIndexOf('.') + 1);
}
