/** German words of the list of conversations. */
import type { ConversationsWords } from './conversations.en';

export const conversations: ConversationsWords = {
  title: 'Unterhaltungen',
  search: 'Unterhaltungen durchsuchen',
  results: 'Gefunden',
  none: 'Noch keine Unterhaltungen. Was in Chat oder Sprache gesagt wird, bleibt hier erhalten.',
  nothingFound: 'Nichts gefunden.',
  more: 'Mehr zeigen',
  untitled: 'Ohne Namen',
  voice: 'Sprache',
  actions: 'Diese Unterhaltung',
  rename: 'Umbenennen',
  name: 'Name der Unterhaltung',
  pin: 'Anheften',
  unpin: 'Loslösen',
  asMarkdown: 'Als Markdown exportieren',
  asJson: 'Als JSON exportieren',
  delete: 'Löschen',
  deleteTitled: '{title} löschen',
  deleteTitle: 'Diese Unterhaltung löschen?',
  deleteText: '„{title}“ wird mit allen Zweigen gelöscht. Es gibt keinen Weg zurück.',
  deleteAll: 'Alle löschen',
  deleteAllTitle: 'Alle Unterhaltungen löschen?',
  deleteAllText:
    'Alle Ihre Unterhaltungen auf diesem Gateway werden gelöscht, auch die gesprochenen. Zurück führt nur ein Export von vorher.',
  deleted: 'Gelöscht.',
  exportAll: 'Alle exportieren',
  import: 'Importieren…',
  importHint:
    'Der Export von ChatGPT (.zip oder conversations.json), von Open WebUI (.json) oder von hier (.ndjson). Dieselbe Datei noch einmal zu importieren verdoppelt nichts.',
  importing: 'Import: {read} von {total}…',
  uploading: 'Die Datei wird gesendet…',
  imported:
    'Importiert: {added} neu, {extended} mit weiteren Nachrichten, {unchanged} schon bekannt, {skipped} ausgelassen.',
  importFailed: 'Der Import endete vorzeitig.',
  leftOut: 'Ausgelassen',
};
