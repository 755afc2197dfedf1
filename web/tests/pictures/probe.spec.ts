/** `npm run pictures` writes the picture of the auth matrix: a real run against a gateway that wants its token. */
import { fileURLToPath } from 'node:url';

import type { Page } from '@playwright/test';

import { expect, KEY, test, TOKEN } from '../browser/fixtures';
import { changeSession } from '../browser/secrets';

const SCREENSHOTS = fileURLToPath(new URL('../../../docs/screenshots/', import.meta.url));

async function run(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(page.locator('.page')).toHaveAttribute('data-phase', 'done');
}

test('the auth matrix after a run', async ({ page, guarded, expectedErrors }) => {
  expectedErrors.push(/status of 40[01]/);
  await page.setViewportSize({ width: 1280, height: 1890 });
  await page.goto(`${guarded.url}/probe`);
  await changeSession(page, guarded.url, {
    provider: 'openai',
    model: 'local',
    realtime_model: 'local',
    provider_key: KEY,
    gateway_token: TOKEN,
    use_authenticated_gateway: true,
  });
  await page.reload();
  await run(page);
  await run(page); // finds every part awake, so that its times are those of the requests
  await page.mouse.move(0, 0);
  await page.locator('h1').focus();
  await page.screenshot({ path: `${SCREENSHOTS}probe.png` });
});
