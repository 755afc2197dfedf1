/** German words of the auth matrix. */
import type { ProbeWords } from './probe.en';

export const probe: ProbeWords = {
  intro:
    'Zeigt denselben Schlüssel an jeder Stelle und über jeden Transportweg und sagt, ob er überall dasselbe bewirkt.',
  form: {
    target: 'Ziel',
    thisGateway: 'Dieses Gateway',
    anAddress: 'Eine Adresse',
    address: 'Adresse',
    addressHint:
      'Ein Gateway (https://HOST/v1/KONTO/GATEWAY) oder die Basis-URL einer API (https://api.openai.com/v1). Private und lokale Adressen werden abgelehnt; Schlüssel, die das Gateway verwahrt, gehen nicht dorthin.',
    keys: 'Schlüssel',
    ofSession: 'Vom Gateway verwahrt',
    sessionHolds:
      'In den Einstellungen dieses Browsers: Anbieter-Schlüssel {provider}, Gateway-Token {gateway}.',
    noneSet: 'keiner',
    typed: 'Hier eingegeben',
    typedHint:
      'Sie bleiben im Speicher dieser Seite, bis Sie sie verlassen, und gehen durch das Gateway nur an das Ziel.',
    providerKey: 'Anbieter-Schlüssel',
    gatewayKey: 'Gateway-Schlüssel oder -Token',
    noKey:
      'Für {provider} ist hier kein Schlüssel. Was einen zeigt, wird nicht gefragt; gefragt werden die Kontrollen und was keinen braucht.',
    models: 'Modelle',
    model: 'Modell',
    realtimeModel: 'Echtzeit-Modell',
    modelsHint: 'In den Anfragen genannt. Leer: ein übliches. Eines, das es nicht gibt, ändert kein Urteil.',
    billable: 'Eine kostenpflichtige Anfrage erlauben',
    billableHint:
      'Die Spalte SSE bittet dann um eine Antwort von einem Token. Sonst enthält die Anfrage keine Nachricht: Das lehnt eine API ab, nachdem sie den Schlüssel geprüft hat, und nichts wird bezahlt.',
    run: 'Starten',
    cancel: 'Abbrechen',
    starting: 'Beginnt …',
    progress: '{done}/{total}',
    asked: 'Gefragte Zellen',
  },
  before: {
    title: 'Was ein Lauf tut',
    asks: 'Er fragt nach der Liste der Modelle, nach einem Strom und nach einer Sprachsitzung, einmal für jede Art, in der Programme einen Schlüssel zeigen.',
    controls:
      'Er zeigt auch einen falschen Schlüssel. Nur wo dieser abgelehnt wird, bedeutet es etwas, dass ein anderer akzeptiert wird.',
    never: 'Was er nie tut',
    prompt:
      'Er sendet keinen Prompt, es sei denn, Sie erlauben es; eine Sprachsitzung wird geschlossen, sobald sie besteht.',
    keys: 'Er sendet Schlüssel nur an das Ziel, folgt keiner Umleitung und schreibt keinen Schlüssel in ein Ergebnis.',
    blame: 'Er sagt, was zu sehen war, und nicht, an wem ein Unterschied liegt.',
  },
  table: {
    server: 'Vom Rechner des Gateways',
    of: '{provider} unter {target}',
    shown: 'Gezeigt',
    rows: 'Zugangsdaten',
    controls: 'Kontrollen: Jede davon muss abgelehnt werden',
    waiting: 'noch nicht gefragt',
    differs: 'weicht ab',
    legend:
      'Wählen Sie eine Zelle, um zu sehen, was gesendet wurde und was zurückkam. Die Pfeiltasten wechseln die Zelle.',
  },
  verdicts: {
    accepted: 'akzeptiert',
    refused: 'abgelehnt',
    unclear: 'unklar',
    unreachable: 'keine Antwort',
    skipped: 'nicht gefragt',
    'not applicable': 'entfällt',
  },
  controlRefused: 'wie es sein muss',
  controlAccepted: 'muss abgelehnt werden',
  detail: {
    title: '{verdict}, über {column}',
    shown: 'Gezeigt',
    why: 'Warum',
    time: 'Zeit',
    status: 'HTTP-Status',
    closeCode: 'Schließcode',
    request: 'Was gesendet wurde',
    copies: 'Eine Kopie enthält keinen Schlüssel. Sie liest aus der Umgebung, in der sie läuft:',
    firstFrame: 'Anfang dessen, was zurückkam',
    noFrame: 'nichts',
  },
  outcome: {
    same: 'Derselbe Schlüssel, überall dasselbe Ergebnis',
    sameText: 'Alle Zugangsdaten bewirken an jeder Stelle und über jeden Transportweg dasselbe.',
    differs: 'Derselbe Schlüssel, ein anderes Ergebnis',
    differsText:
      'Zellen, in denen Zugangsdaten weniger bewirken als anderswo: {count}. Sie sind in der Tabelle markiert.',
    nothing: 'Nichts zu vergleichen',
    nothingText: 'Nichts wurde in zwei Zellen beobachtet. Mit einem Schlüssel ist mehr zu sehen.',
    faults: 'Die grünen Zellen bedeuten nichts',
    faultsText:
      'Ein falscher Schlüssel muss überall dort abgelehnt werden, wo einer akzeptiert wird. Das war nicht so:',
    leftOut: 'Ausgelassen',
    save: 'Bericht speichern',
    saved: 'Keine dieser Dateien enthält einen Schlüssel.',
  },
  states: {
    cancelled: 'Abgebrochen nach {done} von {total} Zellen',
    broken: 'Die Verbindung brach nach {done} von {total} Zellen ab',
    partText: 'Was bis dahin gefragt war, bleibt stehen. Starten Sie für den Rest erneut.',
    failed: 'Der Lauf konnte nicht weitergehen',
    refused: 'Das Gateway hat diesen Lauf abgelehnt',
    unreachable: 'Das Gateway antwortet nicht',
    invalid: 'Das lässt sich nicht prüfen',
    done: 'Der Lauf ist beendet.',
    running: 'Der Lauf hat begonnen.',
  },
  browser: {
    title: 'Von diesem Browser',
    text: 'Von dieser Seite selbst gefragt: mit einem Client-Secret des Gateways, das eine Minute gilt, statt eines Schlüssels.',
    elsewhere:
      "Seiten der Konsole dürfen sich nur mit diesem Gateway verbinden (connect-src 'self'); eine andere Adresse wird daher allein vom Rechner des Gateways geprüft.",
    noSecret:
      '{provider} hat keine Echtzeit-Sprache, und nur wo es eine gibt, stellt das Gateway Client-Secrets aus.',
    refused: 'Das Gateway gab dieser Seite kein Client-Secret. Es sagte:',
    rows: {
      'client-secret': 'Seiten und Programme, denen ein Client-Secret gegeben wurde',
      'unknown-secret': 'ein Client-Secret, das niemandem gegeben wurde',
    },
    reasons: {
      answered: 'Es kam die Antwort, um die gebeten wurde.',
      session: 'Die Sprachsitzung wurde eröffnet.',
      'request-read':
        'Abgelehnt wurde, was in der Anfrage steht, und danach sieht niemand vor dem Schlüssel.',
      refused: 'Das Secret wurde abgelehnt.',
      'nothing-said': 'Die Antwort sagt nichts über das Secret.',
      'no-answer': 'Es kam keine Antwort.',
    },
  },
};
