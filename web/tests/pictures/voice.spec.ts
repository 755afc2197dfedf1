/** `npm run pictures` writes the README's picture: a real call with the local voice. */
import { fileURLToPath } from 'node:url';

import { expect, soundLevel, test } from '../browser/fixtures';
import { microphone, QUESTION } from '../browser/said';
import { connect, transcript, type } from '../browser/voice-page';

const SCREENSHOTS = fileURLToPath(new URL('../../../docs/screenshots/', import.meta.url));

test.use(microphone('question'));

test('the voice page in a call', async ({ page }) => {
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.goto('/voice');
  await connect(page);
  await expect(transcript(page)).toContainText(QUESTION);
  await expect.poll(() => soundLevel(page)).toBeGreaterThan(0.01);
  await expect(page.locator('[data-phase="listening"]')).toBeVisible();
  await type(page, 'How many legs does a spider have?');
  await expect.poll(() => soundLevel(page)).toBeGreaterThan(0.01);
  await page.mouse.move(0, 0);
  await page.locator('h1').focus();
  await page.screenshot({ path: `${SCREENSHOTS}voice.png` });
});
