/** The console's pages, for the tests and pictures that are of all of them: a new page is one line here. */
import { expect, type Page } from '@playwright/test';

import { CONVERSATION, type Furnished } from './furnished';

export interface ConsolePage {
  readonly name: string;
  readonly path: string;
  /** Where something of the furnished gateway is shown, when that is not at the path. */
  readonly filled?: (by: Furnished) => string;
  /** How the name of the button begins that opens the page's dialog. The list of shortcuts stands in for a page without one. */
  readonly dialog?: string;
}

export const PAGES: readonly ConsolePage[] = [
  { name: 'overview', path: '/' },
  { name: 'chat', path: '/chat', filled: () => `/chat/${CONVERSATION}` },
  { name: 'voice', path: '/voice' },
  { name: 'direct', path: '/direct/' },
  { name: 'history', path: '/history' },
  { name: 'logs', path: '/logs', filled: ({ logId }) => `/logs/${logId}` },
  { name: 'sessions', path: '/sessions', dialog: 'Show the session' },
  { name: 'analytics', path: '/analytics' },
  { name: 'probe', path: '/probe' },
  { name: 'access', path: '/access', dialog: 'New key' },
  { name: 'gateways', path: '/gateways', filled: () => '/gateways/default', dialog: 'New gateway' },
  { name: 'providers', path: '/providers', dialog: 'Add a provider' },
  { name: 'routes', path: '/routes' },
  { name: 'people', path: '/people', dialog: 'Invite somebody' },
  { name: 'settings', path: '/settings', dialog: 'Erase everything' },
  { name: 'login', path: '/login' },
];

/** Waits until a page shows what it has to say: its heading, and nothing that is still being read. */
export async function settled(page: Page): Promise<void> {
  await expect(page.locator('main :is(h1, h2):visible').first()).toBeVisible();
  await expect(page.locator('main [aria-busy="true"]')).toHaveCount(0);
  // The next two frames have drawn what came last.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

/** Opens the dialog of a page, whose buttons have their names in the language that `said` translates to. */
export async function openDialog(
  page: Page,
  { dialog }: ConsolePage,
  said = (text: string) => text,
): Promise<void> {
  if (dialog) {
    const name = new RegExp(`^${said(dialog)}`);
    await page.locator('main').getByRole('button', { name }).first().click({ timeout: 20_000 });
  } else {
    await page.locator('h1').first().click();
    await page.keyboard.press('?');
  }
  await expect(page.getByRole('dialog')).toBeVisible();
}

/** How far a page reaches beyond its window to the side, in CSS pixels, and what does. */
export function overflow(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const root = document.documentElement;
    if (root.scrollWidth <= window.innerWidth) return [];
    return [...document.querySelectorAll('main *, dialog[open] *')]
      .filter((element) => {
        const { left, right } = element.getBoundingClientRect();
        return right > window.innerWidth + 1 || left < -1;
      })
      .slice(0, 5)
      .map((element) => `${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 40)}`)
      .concat(`${root.scrollWidth} of ${window.innerWidth} px`);
  });
}
