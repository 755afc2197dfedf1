import { expect, expectAccessible, KEY, test } from './fixtures';
import { changeSession } from './secrets';

const CALL = { provider: 'openai', model: 'local', realtime_model: 'local' };

test('one clip is timed through the gateway and straight, by keyboard alone, and the difference is told', async ({
  page,
  gateway,
}) => {
  await changeSession(page, gateway.url, { ...CALL, provider_key: KEY });
  await page.goto('/direct/');
  await page.locator('summary', { hasText: 'Compare with' }).focus();
  await page.keyboard.press('Enter');
  const comparison = page.locator('[data-comparison]');
  await comparison.getByLabel('Runs each way').focus();
  await page.keyboard.press('Home');
  await expect(comparison.getByLabel('Runs each way')).toHaveValue('1');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expect(comparison.getByRole('progressbar')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Cancel' })).toBeVisible();
  const table = comparison.getByRole('table', { name: 'Medians in milliseconds' });
  await expect(table.getByRole('row')).toHaveCount(5);
  await expect(comparison).toHaveAttribute('data-comparison', 'done');
  for (const name of [/^Connect/, /^Round trip/, /first byte/, /enough to play/]) {
    const cells = await table.getByRole('row', { name }).getByRole('cell').allInnerTexts();
    const [through, straight, more] = cells.map((text) =>
      Number(text.split('\n')[0]?.replace('−', '-').replace(',', '')),
    );
    expect(through).toBeGreaterThanOrEqual(0);
    expect(straight).toBeGreaterThanOrEqual(0);
    expect(Math.abs((more ?? NaN) - ((through ?? NaN) - (straight ?? NaN)))).toBeLessThanOrEqual(1);
  }
  await expect(comparison).toContainText('n = 1 through the gateway, 1 direct');
  await expectAccessible(page);
});
