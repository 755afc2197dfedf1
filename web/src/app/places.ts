/** Where somebody can go: the pages in the order of the rail, and the key that follows `g`. */
import type { DocumentPage } from './pages';

export interface Place {
  readonly name: Exclude<DocumentPage, 'login'>;
  readonly path: string;
  readonly key: string;
}

/** To use the gateway, to watch it, to set it up. */
export const groups: readonly (readonly Place[])[] = [
  [
    { name: 'overview', path: '/', key: 'o' },
    { name: 'chat', path: '/chat', key: 'c' },
    { name: 'voice', path: '/voice', key: 'v' },
    { name: 'direct', path: '/direct/', key: 'd' },
    { name: 'history', path: '/history', key: 'h' },
  ],
  [
    { name: 'logs', path: '/logs', key: 'l' },
    { name: 'sessions', path: '/sessions', key: 'e' },
    { name: 'analytics', path: '/analytics', key: 'a' },
    { name: 'probe', path: '/probe', key: 'p' },
  ],
  [
    { name: 'access', path: '/access', key: 'k' },
    { name: 'gateways', path: '/gateways', key: 'w' },
    { name: 'providers', path: '/providers', key: 'i' },
    { name: 'routes', path: '/routes', key: 'r' },
    { name: 'people', path: '/people', key: 'u' },
    { name: 'settings', path: '/settings', key: 's' },
  ],
];

export const places: readonly Place[] = groups.flat();
