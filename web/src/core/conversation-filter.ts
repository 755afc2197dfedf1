/** Which conversations are looked at, kept in the address. */

export interface ConversationFilter {
  /** What they hold; empty for whatever. */
  readonly words: string;
  readonly kind: '' | 'text' | 'voice';
  /** Empty for any or none. */
  readonly tag: string;
  readonly archived: boolean;
}

/** Read the query of an address. */
export function conversationFilterOf(query: URLSearchParams): ConversationFilter {
  const kind = query.get('kind');
  return {
    words: query.get('q') ?? '',
    kind: kind === 'text' || kind === 'voice' ? kind : '',
    tag: query.get('tag') ?? '',
    archived: query.has('archived'),
  };
}

/** Write a filter as the query of an address. */
export function asQuery({ words, kind, tag, archived }: ConversationFilter): URLSearchParams {
  return new URLSearchParams({
    ...(words && { q: words }),
    ...(kind && { kind }),
    ...(tag && { tag }),
    ...(archived && { archived: '' }),
  });
}

/** Whether it leaves anything out but what was archived. */
export function isNarrow({ words, kind, tag }: ConversationFilter): boolean {
  return words.trim() !== '' || kind !== '' || tag !== '';
}

/** Read tags as they are typed, with commas between them. */
export function tagsOf(typed: string): string[] {
  return [...new Set(typed.split(',').map((tag) => tag.trim().replace(/\s+/g, ' ')))].filter(Boolean);
}
