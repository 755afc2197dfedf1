/**
 * Section 8 of the console's plan: axe finds nothing on any page, in any state, in any way to look at it; nothing
 * overflows sideways, and what can be pressed is large enough. A page is loaded once for each state, and looked at in
 * all ways without being loaded again.
 */
import type { CDPSession, Page } from '@playwright/test';

import { expect, test, violations } from './fixtures';
import { openDialog, overflow, PAGES, settled, type ConsolePage } from './pages';

/** The smallest side of a target, in CSS pixels (WCAG 2.5.8). */
const TARGET = 24;
/** For a machine that does something else besides. */
const LONG = 300_000;
const WIDE = { width: 1280, height: 860 };

type Look = (page: Page, browser: CDPSession) => Promise<unknown>;

/** Looks at what was looked at in light, with the same elements in the same places. */
const RECOLOURED: readonly string[] = ['dark', 'forced colours'];

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

test('every page, when there is nothing yet', async ({ page, empty }) => {
  test.setTimeout(LONG);
  await everyPage(page, (place) => page.goto(empty.url + place.path));
});

test('every page, when the gateway fails', async ({ page, empty, expectedErrors }) => {
  test.setTimeout(LONG);
  expectedErrors.push(/status of 500/);
  // What the frame around every page needs is answered: without that, nothing but the frame's own notice is there.
  await page.route(/\/api\/(?!config|session$|account)|\/v1\//, (route) =>
    route.fulfill({ status: 500, json: { error: { code: 'internal', message: 'The gateway failed.' } } }),
  );
  await everyPage(page, (place) => page.goto(empty.url + place.path));
});

test.describe('with something in every list', () => {
  test.use({ storageState: async ({ furnished }, use) => use(furnished.signedIn) });

  test('every page', async ({ page, furnished }) => {
    test.setTimeout(LONG);
    const { gateway } = furnished;
    await everyPage(page, ({ path, filled }) => page.goto(gateway.url + (filled?.(furnished) ?? path)));
  });

  test('every page, with a dialog open', async ({ page, furnished }) => {
    test.setTimeout(LONG);
    await everyPage(page, async (place) => {
      await page.goto(furnished.gateway.url + place.path);
      await settled(page);
      await openDialog(page, place);
    });
  });
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
        ...(await violations(page, RECOLOURED.includes(name) ? 'colours' : 'everything')),
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
