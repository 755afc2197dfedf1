import type { FiltersWords } from './filters.en';

export const filters: FiltersWords = {
  label: 'Filter',
  range: 'Zeit',
  between: 'Zwischen zwei Zeitpunkten',
  ranges: {
    '15m': 'Letzte 15 Minuten',
    '1h': 'Letzte Stunde',
    '6h': 'Letzte 6 Stunden',
    '24h': 'Letzte 24 Stunden',
    '7d': 'Letzte 7 Tage',
    '30d': 'Letzte 30 Tage',
    '90d': 'Letzte 90 Tage',
  },
  words: 'Nach Wörtern filtern',
  placeholder: 'model:gpt-4o status:>=400 beliebiger Text',
  apply: 'Anwenden',
  active: 'Wirksame Filter',
  drop: 'Den Filter {word} entfernen',
  dropTime: 'Die Zeit entfernen',
  hint: 'name:wert engt ein, mehrere Werte stehen zwischen Kommas; vor einer Zahl darf >, >=, <, <= stehen, und != heißt: nicht. Namen: {fields}, metadata.NAME. Eingabe wendet an.',
};
