/** German words of the comparison between the gateway and the provider. */
import type { CompareWords } from './compare.en';

export const compare: CompareWords = {
  intro:
    'Ein Stück Ton wird {provider} auf beiden Wegen mehrmals abwechselnd vorgesprochen, und dieser Browser stoppt die Zeit. Jede Antwort wird verlassen, sobald ihr erster Ton da ist.',
  clip: 'Ton',
  bundled: 'Eine kurze Frage: „What is the capital of France?“',
  own: 'Ihre eigene Stimme',
  file: 'Eine Tondatei',
  choose: 'Tondatei wählen',
  length: '{seconds} lang',
  record: 'Aufnehmen',
  stop: 'Aufnahme beenden',
  recording: 'Aufnahme: {seconds}, höchstens {longest}',
  notSound: 'Aus dieser Datei kann der Browser keinen Ton machen.',
  nothingHeard: 'Es wurde nichts aufgenommen.',
  runs: 'Durchläufe je Weg',
  start: 'Vergleichen',
  cancel: 'Abbrechen',
  busy: 'Beenden Sie zuerst den Anruf: Sonst würde beides zusammen gemessen.',
  ways: { gateway: 'Über das Gateway', direct: 'Direkt' },
  steps: { connecting: 'verbindet', speaking: 'spricht', waiting: 'wartet auf die Antwort' },
  progress: 'Durchlauf {run} von {runs}, {way}: {step}',
  progressLabel: 'Fortschritt des Vergleichs',
  done: 'Der Vergleich ist fertig.',
  cancelled: 'Abgebrochen. Was gemessen wurde, bleibt stehen.',
  failed: '{way}: nicht abgeschlossen.',
  results: 'Mediane in Millisekunden',
  measure: 'Maß',
  /** Heads of narrow columns. */
  heads: { gateway: 'Gateway', direct: 'Direkt', difference: 'Gateway dazu' },
  each: 'Jeder Durchlauf',
  measures: {
    connect: 'Verbinden',
    roundTrip: 'Hin und zurück',
    firstByte: 'Sprechende → erstes Byte',
    playable: 'Sprechende → genug zum Abspielen',
  },
  range: '{least}–{most}',
  n: 'n = {gateway} über das Gateway, {direct} direkt. Unter jedem Median: der kleinste und der größte Wert.',
  caveat:
    'Beide Wege teilen sich Ihr Netz, und die Zeit des Anbieters schwankt von Antwort zu Antwort um mehr, als ein Gateway hinzufügt. Wenige Durchläufe zeigen die Größe eines Unterschieds, nicht seine letzten Millisekunden. Das Verbinden enthält auf beiden Wegen die Bitte um ein kurzlebiges Geheimnis.',
  copy: 'Als Markdown kopieren',
  runsTable: 'Jeder Durchlauf, in Millisekunden',
  way: 'Weg',
};
