/**
 * Section 8 of the console's plan: axe finds nothing on any page, in any state, in any way to look at it; nothing
 * overflows sideways, and what can be pressed is large enough. A page is loaded once for each state, and looked at in
 * all ways without being loaded again.
 */
import type { CDPSession, Page } from '@playwright/test';

import { expect, test, violations } from './fixtures';
import { furnish, type StorageState } from './furnished';
import { openDialog, overflow, PAGES, settled, type ConsolePage } from './pages';
import { start, type Program } from './program';

/** The smallest side of a target, in CSS pixels (WCAG 2.5.8). */
const TARGET = 24;
const WIDE = { width: 1280, height: 860 };

type Look = (page: Page, browser: CDPSession) => Promise<unknown>;

/** Each is undone by the next. */
const LOOKS: Readonly<Record<string, Look>> = {
  light: async (page) => page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' }),
  dark: (page) => page.emulateMedia({ colorScheme: 'dark' }),
  'forced colours': (page) => page.emulateMedia({ colorScheme: 'light', forcedColors: 'active' }),
  '375 px': async (page) => {
    await page.emulateMedia({ forcedColors: 'none' });
    await page.setViewportSize({ width: 375, height: 860 });
  },
  '200 % text': async (page, browser) => {
    await page.setViewportSize(WIDE);
    await browser.send('Page.setFontSizes', { fontSizes: { standard: 32, fixed: 26 } });
  },
};

test.describe.configure({ mode: 'serial' });

let empty: Program;
let furnished: Program;
let signedIn: StorageState;

test.beforeAll(async ({ playwright }) => {
  const request = await playwright.request.newContext();
  const [fresh, made] = await Promise.all([start(['serve', '--port', '0']), furnish(request)]);
  await request.dispose();
  empty = fresh;
  furnished = made.gateway;
  signedIn = made.signedIn;
});
test.afterAll(() => Promise.all([empty.stop(), furnished.stop()]));

test('every page, when there is nothing yet', async ({ page }) => {
  test.setTimeout(180_000);
  await everyPage(page, async (place) => page.goto(empty.url + place.path));
});

test('every page, when something is there', async ({ browser }) => {
  test.setTimeout(180_000);
  const context = await browser.newContext({ storageState: signedIn });
  const page = await context.newPage();
  await everyPage(page, async (place) => page.goto(furnished.url + (place.filled ?? place.path)));
  await context.close();
});

test('every page, when the gateway fails', async ({ page, expectedErrors }) => {
  test.setTimeout(180_000);
  expectedErrors.push(/status of 500/);
  // What the frame around every page needs is answered: without that, nothing but the frame's own notice is there.
  await page.route(/\/api\/(?!config|session$|account)|\/v1\//, (route) =>
    route.fulfill({ status: 500, json: { error: { code: 'internal', message: 'The gateway failed.' } } }),
  );
  await everyPage(page, async (place) => page.goto(empty.url + place.path));
});

test('every page, with a dialog open', async ({ browser }) => {
  test.setTimeout(180_000);
  const context = await browser.newContext({ storageState: signedIn });
  const page = await context.newPage();
  await everyPage(page, async (place) => {
    await page.goto(furnished.url + place.path);
    await settled(page);
    await openDialog(page, place);
  });
  await context.close();
});

async function everyPage(page: Page, show: (place: ConsolePage) => Promise<unknown>): Promise<void> {
  const browser = await page.context().newCDPSession(page);
  const found: string[] = [];
  for (const place of PAGES) {
    await browser.send('Page.setFontSizes', { fontSizes: { standard: 16, fixed: 13 } });
    await show(place);
    await settled(page);
    for (const [name, look] of Object.entries(LOOKS)) {
      await look(page, browser);
      const problems = [
        ...(await violations(page)),
        ...(await overflow(page)).map((what) => `overflows: ${what}`),
        ...(await tooSmall(page)).map((what) => `too small: ${what}`),
      ];
      found.push(...problems.map((problem) => `${place.name}, ${name}: ${problem}`));
    }
  }
  expect(found).toEqual([]);
}

/** Controls smaller than they must be. Links may be: their distance counts then (2.5.8), which axe measures. */
function tooSmall(page: Page): Promise<string[]> {
  return page.evaluate((least) => {
    const shown = document.querySelector('dialog[open]') ?? document.body;
    return [
      ...shown.querySelectorAll<HTMLInputElement>('button, input, select, textarea, summary, [tabindex="0"]'),
    ]
      .filter((element) => element.checkVisibility({ visibilityProperty: true }))
      .filter((element) => {
        // What pressing counts as pressing the control: its label too.
        const boxes = [element, ...(element.labels ?? [])].map((part) => part.getBoundingClientRect());
        return (['width', 'height'] as const).some(
          (side) => Math.max(...boxes.map((box) => box[side])) < least,
        );
      })
      .map((element) => element.outerHTML.slice(0, 120));
  }, TARGET);
}

test('pages are sent with the policy that keeps foreign code out', async ({ page, gateway }) => {
  for (const path of ['/', '/direct/']) {
    const headers = (await page.request.get(gateway.url + path)).headers();
    const policy = headers['content-security-policy'] ?? '';
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).toContain("require-trusted-types-for 'script'");
    expect(policy).not.toMatch(/unsafe/);
    expect(headers['x-content-type-options']).toBe('nosniff');
  }
});
