/** Which field of a custom provider the gateway's refusal is about. */

export const FIELDS = ['name', 'slug', 'base_url', 'chat_path', 'models_path', 'headers'] as const;
export type Field = (typeof FIELDS)[number];

/** The words for each field at fault; `form` are those that are about none, or several. */
export type Problems = Readonly<Partial<Record<Field | 'form', string>>>;

/** Divide what the gateway said: `field: fault`, several of them with semicolons, or a sentence that names the field. */
export function problemsIn(message: string): Problems {
  const parts = message.split(new RegExp(`; (?=(?:${FIELDS.join('|')})\\b[^\\s:]*: )`));
  const problems: Partial<Record<Field | 'form', string>> = {};
  for (const part of parts) {
    const [field, words] = placed(part);
    problems[field] = problems[field] === undefined ? words : `${problems[field]} ${words}`;
  }
  return problems;
}

function placed(part: string): readonly [Field | 'form', string] {
  // "custom-slug: " only says which provider is meant.
  const words = part.replace(/^custom-[a-z0-9-]+: /, '');
  const named = FIELDS.find((field) => new RegExp(`^${field}\\b[^\\s:]*: `).test(words));
  if (named) return [named, named === 'headers' ? words : words.slice(words.indexOf(': ') + 2)];
  if (words.startsWith('headers.')) return ['headers', words];
  if (/\bchoose another slug\b/.test(words)) return ['slug', words];
  if (/\bbase_url\b|custom_provider_hosts/.test(words)) return ['base_url', words];
  return ['form', words];
}
