/** English words of the list of conversations. */
import type { Widen } from './catalogue';

export type ConversationsWords = Widen<typeof conversations>;

export const conversations = {
  title: 'Conversations',
  search: 'Search conversations',
  results: 'Found',
  none: 'No conversations yet. Whatever is said in chat or voice is kept here.',
  nothingFound: 'Nothing found.',
  more: 'Show more',
  untitled: 'Untitled',
  voice: 'Voice',
  actions: 'This conversation',
  rename: 'Rename',
  name: 'Name of the conversation',
  pin: 'Pin',
  unpin: 'Unpin',
  asMarkdown: 'Export as Markdown',
  asJson: 'Export as JSON',
  delete: 'Delete',
  deleteTitled: 'Delete {title}',
  deleteTitle: 'Delete this conversation?',
  deleteText: '“{title}” will be deleted with all its branches. There is no way back.',
  deleteAll: 'Delete all',
  deleteAllTitle: 'Delete all conversations?',
  deleteAllText:
    'All your conversations on this gateway will be deleted, spoken ones too. There is no way back but an export made before.',
  deleted: 'Deleted.',
  exportAll: 'Export all',
  import: 'Import…',
  importHint:
    'ChatGPT’s export (.zip or conversations.json), Open WebUI’s (.json), or one from here (.ndjson). Importing a file again makes no doubles.',
  importing: 'Importing: {read} of {total}…',
  uploading: 'Sending the file…',
  imported:
    'Imported: {added} new, {extended} with more messages, {unchanged} known already, {skipped} left out.',
  importFailed: 'The import ended early.',
  leftOut: 'Left out',
};
