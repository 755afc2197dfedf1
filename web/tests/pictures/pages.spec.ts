/**
 * `npm run pictures` writes a picture of every page, filled, in both themes and on a small screen. They are WebP, which
 * is a fraction of what PNG takes for the same: all of them have to travel with the repository.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { test } from '../browser/fixtures';
import { furnish, type Furnished } from '../browser/furnished';
import { PAGES, settled } from '../browser/pages';

const SCREENSHOTS = fileURLToPath(new URL('../../../docs/screenshots/', import.meta.url));
const LOOKS = {
  light: { colorScheme: 'light', width: 1280 },
  dark: { colorScheme: 'dark', width: 1280 },
  small: { colorScheme: 'light', width: 375 },
} as const;

let furnished: Furnished;

test.beforeAll(async ({ playwright }) => {
  const request = await playwright.request.newContext({ timeout: 100_000 });
  furnished = await furnish(request, { speak: true });
  await request.dispose();
});
test.afterAll(() => furnished.gateway.stop());

for (const place of PAGES) {
  test(place.name, async ({ browser }) => {
    const context = await browser.newContext({ storageState: furnished.signedIn });
    const page = await context.newPage();
    const devtools = await context.newCDPSession(page);
    for (const [name, { colorScheme, width }] of Object.entries(LOOKS)) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: 860 });
      await page.goto(furnished.gateway.url + (place.filled?.(furnished) ?? place.path));
      await settled(page);
      await page.getByRole('button', { name: 'Dismiss' }).first().click();
      await page.mouse.move(0, 0);
      const { data } = await devtools.send('Page.captureScreenshot', { format: 'webp', quality: 80 });
      writeFileSync(`${SCREENSHOTS}${place.name}-${name}.webp`, Buffer.from(data, 'base64'));
    }
    await context.close();
  });
}
