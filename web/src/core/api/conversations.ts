/** What the page with all conversations asks for. Every function throws `ApiFailure`. */
import { asQuery, type ConversationFilter } from '../conversation-filter';
import type { components } from '../../gen/api';
import { CONSOLE_HEADER } from '../../gen/constants';
import type { ConsoleApi, ConversationSummary, SearchHit } from './console';

type Schemas = components['schemas'];

/** A conversation in the list, and where it holds what was looked for. */
export interface Listed {
  readonly conversation: ConversationSummary;
  readonly excerpt: SearchHit['excerpt'];
}

export interface ListPage {
  readonly listed: readonly Listed[];
  /** Where it goes on; null at its end. */
  readonly next: string | null;
}

const PATH = '/api/conversations';
const PAGE = 50;

/** The conversations that a filter lets through: the first ones, or those from `before` on; of a search the best. */
export async function listed(
  api: ConsoleApi,
  filter: ConversationFilter,
  before?: string,
  signal?: AbortSignal,
): Promise<ListPage> {
  const query = asQuery(filter);
  query.set('archived', String(filter.archived));
  query.set('limit', String(PAGE));
  if (filter.words.trim() !== '') {
    query.set('q', filter.words.slice(0, 500));
    const { hits } = await api.call<Schemas['SearchHits']>(
      'GET',
      `${PATH}/search?${query}`,
      undefined,
      signal,
    );
    return {
      listed: hits.map(({ conversation, message, excerpt }) => ({
        conversation,
        excerpt: message === '' ? [] : excerpt, // what is found in the title is to be seen there
      })),
      next: null,
    };
  }
  query.delete('q');
  if (before) query.set('before', before);
  const page = await api.call<Schemas['ConversationPage']>('GET', `${PATH}?${query}`, undefined, signal);
  return {
    listed: page.conversations.map((conversation) => ({ conversation, excerpt: [] })),
    next: page.next,
  };
}

/** Every tag there is. */
export async function allTags(api: ConsoleApi, signal?: AbortSignal): Promise<readonly string[]> {
  return (await api.call<Schemas['Tags']>('GET', `${PATH}/tags`, undefined, signal)).tags;
}

/** Where the browser downloads an export of some conversations, or of all. */
export function exportPath(ids: readonly string[] = []): string {
  const query = new URLSearchParams(ids.map((id) => ['id', id]));
  return `${PATH}/export${ids.length > 0 ? `?${query}` : ''}`;
}

/** Delete some while the page is being left: nobody waits for the answer. */
export function deleteOnLeaving(ids: readonly string[]): void {
  void fetch(`${PATH}/delete`, {
    method: 'POST',
    keepalive: true,
    headers: { 'content-type': 'application/json', [CONSOLE_HEADER]: '1' },
    body: JSON.stringify({ ids }),
  });
}
