/** German words of signing in and out. */
import type { LoginWords } from './login.en';

export const login: LoginWords = {
  titles: {
    signIn: 'Anmelden',
    'first-admin': 'Erstes Konto anlegen',
    invite: 'Wählen Sie Ihr Passwort',
    reset: 'Wählen Sie ein neues Passwort',
  },
  texts: {
    signIn: 'Dieses Gateway verlangt eine Anmeldung.',
    'first-admin': 'Es ist das Konto der Verwaltung. Danach melden sich hier alle an.',
    invite: 'Willkommen, {name}. Damit melden Sie sich künftig an.',
    reset: 'Für {name}. Alle Browser, die als {name} angemeldet sind, werden abgemeldet.',
  },
  name: 'Name',
  nameHint: 'Zum Beispiel eine E-Mail-Adresse.',
  password: 'Passwort',
  newPassword: 'Neues Passwort',
  currentPassword: 'Bisheriges Passwort',
  passwordHint: 'Mindestens 12 Zeichen. Mehrere Wörter sind ein gutes Passwort.',
  signIn: 'Anmelden',
  make: 'Konto anlegen',
  set: 'Passwort setzen',
  signOut: 'Abmelden',
  working: 'Einen Augenblick…',
  elsewhere: 'Bei {provider} anmelden',
  or: 'oder',
  signedInAs: 'Angemeldet als {name}',
  toConsole: 'Zur Konsole',
  open: 'Hier muss sich niemand anmelden',
  openText:
    'Dieses Gateway hat keine Konten. Das erste legen Sie über den Link an, den `trunkline serve` ausgibt, oder mit `trunkline users add`.',
  problems: {
    sign_in_refused: 'Name oder Passwort stimmt nicht.',
    too_many_requests: 'Zu viele Versuche. Warten Sie einen Augenblick, und versuchen Sie es noch einmal.',
    unreachable: 'Das Gateway antwortet nicht.',
    link: 'Dieser Link wurde schon benutzt oder ist abgelaufen. Bitten Sie um einen neuen.',
  },
  refused: {
    failed:
      'Die Anmeldung an anderer Stelle hat nicht geklappt. Versuchen Sie es noch einmal, oder fragen Sie die Verwaltung.',
    role: 'Sie sind dort bekannt, haben aber keine Rolle auf diesem Gateway. Fragen Sie die Verwaltung.',
    name: 'Hier gibt es schon ein Konto mit Ihrem Namen. Fragen Sie die Verwaltung.',
  },
  account: {
    title: 'Konto',
    text: 'Wer diese Konsole benutzt. Beim Abmelden werden die Schlüssel dieses Browsers vergessen.',
    roles: {
      viewer: 'Betrachter: darf ansehen und nichts ändern',
      editor: 'Bearbeiter: darf Modelle benutzen und Gateways ändern',
      admin: 'Verwalter: darf alles',
    },
    issuer: 'Meldet sich bei {issuer} an.',
    change: 'Passwort ändern',
    changeText: 'Alle anderen Browser werden abgemeldet.',
    changed: 'Das Passwort ist geändert.',
    wrong: 'Das bisherige Passwort stimmt nicht.',
  },
};
