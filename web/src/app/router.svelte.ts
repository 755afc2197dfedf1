/** What the address bar names: a page, the thing on it that is shown, and a query. Pages are loaded when first shown. */
import type { Component } from 'svelte';

import type { PageName } from './pages';

export interface Route {
  readonly name: PageName;
  readonly load: () => Promise<{ default: Component }>;
  /** Whether the id of a thing on the page may follow: `/chat/abc`. */
  readonly takesId?: boolean;
}

const routes: Readonly<Record<string, Route>> = {
  '/': { name: 'overview', load: () => import('../pages/overview/OverviewPage.svelte') },
  '/chat': { name: 'chat', load: () => import('../pages/chat/ChatPage.svelte'), takesId: true },
  '/voice': { name: 'voice', load: () => import('../pages/voice/VoicePage.svelte') },
  '/history': { name: 'history', load: () => import('../pages/history/HistoryPage.svelte') },
  '/logs': { name: 'logs', load: () => import('../pages/logs/LogsPage.svelte'), takesId: true },
  '/sessions': {
    name: 'sessions',
    load: () => import('../pages/sessions/SessionsPage.svelte'),
    takesId: true,
  },
  '/analytics': { name: 'analytics', load: () => import('../pages/analytics/AnalyticsPage.svelte') },
  '/gateways': {
    name: 'gateways',
    load: () => import('../pages/gateways/GatewaysPage.svelte'),
    takesId: true,
  },
  '/access': { name: 'access', load: () => import('../pages/access/AccessPage.svelte') },
  '/routes': { name: 'routes', load: () => import('../pages/routes/RoutesPage.svelte') },
  '/providers': { name: 'providers', load: () => import('../pages/providers/ProvidersPage.svelte') },
  '/probe': { name: 'probe', load: () => import('../pages/probe/ProbePage.svelte') },
  '/people': { name: 'people', load: () => import('../pages/people/PeoplePage.svelte') },
  '/settings': { name: 'settings', load: () => import('../pages/settings/SettingsPage.svelte') },
  '/login': { name: 'login', load: () => import('../pages/login/LoginPage.svelte') },
};

interface Place {
  readonly route: Route | null;
  /** Of the thing that is shown on the page; empty for none. */
  readonly id: string;
}

class Router {
  #path = $state(normal(location.pathname));
  #search = $state(location.search);
  readonly #place = $derived(placeOf(this.#path));

  /** The route of the address, or null where there is no page. */
  readonly route = $derived(this.#place.route);
  /** The id that follows the page's own path; empty for none. */
  readonly id = $derived(this.#place.id);
  /** The query of the address. Change it by `ask`. */
  readonly query = $derived(new URLSearchParams(this.#search));

  /** Take over links to own pages and the browser's back and forward. */
  start(): void {
    addEventListener('popstate', () => this.#read());
    document.addEventListener('click', (event) => this.#follow(event));
  }

  /**
   * Show the page of a path, which may have a query; where the application has none, the browser goes there itself.
   * `inPlace`: no step for `back` to undo.
   */
  go(address: string, inPlace = false): void {
    const { pathname, search } = new URL(address, location.origin);
    if (!placeOf(normal(pathname)).route) {
      location.assign(address);
      return;
    }
    if (inPlace) history.replaceState(null, '', pathname + search);
    else if (pathname + search !== location.pathname + location.search)
      history.pushState(null, '', pathname + search);
    this.#read();
  }

  /** Show another thing on this page, or none: the page stays as it is, and `back` leaves the thing. */
  show(id: string): void {
    const page = Object.keys(routes).find((path) => routes[path] === this.route);
    if (page !== undefined) this.go((id ? `${page}/${encodeURIComponent(id)}` : page) + this.#search);
  }

  /** Change the query in place: no step for `back` to undo. */
  ask(query: URLSearchParams): void {
    const search = query.size > 0 ? `?${query}` : '';
    if (search === this.#search) return;
    history.replaceState(null, '', location.pathname + search);
    this.#read();
  }

  #read(): void {
    this.#path = normal(location.pathname);
    this.#search = location.search;
  }

  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
    // Another document, such as /direct/, or a place within this page: the browser goes there itself.
    if (!placeOf(normal(link.pathname)).route || link.hash) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  }
}

function normal(path: string): string {
  return path.replace(/(?<=.)\/+$/, '');
}

function placeOf(path: string): Place {
  const whole = routes[path];
  if (whole) return { route: whole, id: '' };
  const [, page, id] = /^(\/[^/]+)\/([^/]+)$/.exec(path) ?? [];
  const route = page === undefined ? undefined : routes[page];
  return route?.takesId && id ? { route, id: decoded(id) } : { route: null, id: '' };
}

/** An address that somebody broke off in the middle of a character is still an address. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const router = new Router();
