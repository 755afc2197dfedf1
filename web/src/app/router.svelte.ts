/** Which page the address bar names. Pages are loaded when first shown. */
import type { Component } from 'svelte';

import type { PageName } from './pages';

export interface Route {
  readonly name: PageName;
  readonly load: () => Promise<{ default: Component }>;
}

const chat: Route = { name: 'chat', load: () => import('../pages/chat/ChatPage.svelte') };
const routes: Readonly<Record<string, Route>> = {
  '/': chat,
  '/chat': chat,
  '/voice': { name: 'voice', load: () => import('../pages/voice/VoicePage.svelte') },
  '/probe': { name: 'probe', load: () => import('../pages/probe/ProbePage.svelte') },
  '/sessions': { name: 'sessions', load: () => import('../pages/sessions/SessionsPage.svelte') },
  '/routes': { name: 'routes', load: () => import('../pages/routes/RoutesPage.svelte') },
  '/providers': { name: 'providers', load: () => import('../pages/providers/ProvidersPage.svelte') },
  '/login': { name: 'login', load: () => import('../pages/login/LoginPage.svelte') },
  '/settings': { name: 'settings', load: () => import('../pages/settings/SettingsPage.svelte') },
};

class Router {
  #path = $state(normal(location.pathname));

  /** The route of the address, or null where there is no page. */
  route = $derived(routes[this.#path] ?? null);

  /** Take over links to own pages and the browser's back and forward. */
  start(): void {
    addEventListener('popstate', () => (this.#path = normal(location.pathname)));
    document.addEventListener('click', (event) => this.#follow(event));
  }

  /** Show the page of a path; where the application has none, the browser goes there itself. */
  go(path: string): void {
    const wanted = normal(path);
    if (!(wanted in routes)) {
      location.assign(path);
      return;
    }
    if (wanted !== this.#path) history.pushState(null, '', path);
    this.#path = wanted;
  }

  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
    // Another document, such as /direct/, or a place within this page: the browser goes there itself.
    if (!(normal(link.pathname) in routes) || link.hash) return;
    event.preventDefault();
    this.go(link.pathname);
  }
}

function normal(path: string): string {
  return path.replace(/(?<=.)\/+$/, '');
}

export const router = new Router();
