/** English words of signing in and out. */
import type { Widen } from './catalogue';

export type LoginWords = Widen<typeof login>;

export const login = {
  titles: {
    signIn: 'Sign in',
    'first-admin': 'Make the first account',
    invite: 'Choose your password',
    reset: 'Choose another password',
  },
  texts: {
    signIn: 'This gateway asks people to sign in.',
    'first-admin': 'It is the administrator’s. From then on everybody signs in here.',
    invite: 'Welcome, {name}. With it you sign in from now on.',
    reset: 'For {name}. Every browser that is signed in as {name} is signed out.',
  },
  name: 'Name',
  nameHint: 'Such as an e-mail address.',
  password: 'Password',
  newPassword: 'New password',
  currentPassword: 'Current password',
  passwordHint: 'At least 12 characters. Several words make a good one.',
  signIn: 'Sign in',
  make: 'Make the account',
  set: 'Set the password',
  signOut: 'Sign out',
  working: 'One moment…',
  elsewhere: 'Sign in at {provider}',
  or: 'or',
  signedInAs: 'Signed in as {name}',
  toConsole: 'Go to the console',
  open: 'Nobody has to sign in here',
  openText:
    'This gateway has no accounts. To make the first, open the link that `trunkline serve` prints, or run `trunkline users add`.',
  problems: {
    sign_in_refused: 'The name or the password is wrong.',
    too_many_requests: 'Too many attempts. Wait a moment, then try again.',
    unreachable: 'The gateway does not answer.',
    link: 'This link was used or has expired. Ask for another.',
  },
  refused: {
    failed: 'Signing in elsewhere did not work. Try again, or ask whoever runs this gateway.',
    role: 'You are known there, but have no role on this gateway. Ask whoever runs it.',
    name: 'There is an account of your name here already. Ask whoever runs this gateway.',
  },
  account: {
    title: 'Account',
    text: 'Who uses this console. Signing out forgets the keys of this browser.',
    roles: {
      viewer: 'viewer: may look, and change nothing',
      editor: 'editor: may use models and change gateways',
      admin: 'administrator: may do everything',
    },
    issuer: 'Signs in at {issuer}.',
    change: 'Change the password',
    changeText: 'Every other browser is signed out.',
    changed: 'The password is changed.',
    wrong: 'The current password is wrong.',
  },
};
