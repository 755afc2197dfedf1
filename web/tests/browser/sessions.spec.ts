import { expect, expectAccessible, test } from './fixtures';
import { microphone } from './said';
import { connect, panel, transcript, type } from './voice-page';

const QUESTION = 'What is the capital of Italy?';

test.use(microphone('question'));

test('a voice session is seen live, killed with a reason, and read afterwards', async ({ page, context }) => {
  // What is said is kept only where a gateway is told to.
  const told = await page.request.patch('/api/gateways/default', { data: { logging: { payloads: true } } });
  expect(told.ok()).toBe(true);
  await page.goto('/voice');
  await connect(page);
  await type(page, QUESTION);
  await expect(transcript(page)).toContainText(QUESTION);

  const operator = await context.newPage();
  await operator.goto('/sessions');
  const open = operator.getByRole('table', { name: 'Open sessions' }).locator('[data-session]');
  await expect(open).toHaveCount(1);
  await expect(open).toContainText('local');
  const id = (await open.getAttribute('data-session')) ?? '';
  await open.getByRole('button', { name: /^Kill the session of/ }).click();
  await expectAccessible(operator);
  await operator.getByRole('button', { name: 'Kill the session', exact: true }).click();

  await expect(page.getByText('its operator asked for that').first()).toBeVisible();
  await expect(panel(page)).not.toHaveAttribute('data-status', 'live');
  await expect(operator.getByText('No session is open')).toBeVisible();

  const ended = operator.getByRole('table', { name: 'Ended sessions' }).locator(`[data-session="${id}"]`);
  await expect(ended).toContainText('gateway 4000');
  await ended.getByRole('button').click();
  const detail = operator.getByRole('dialog');
  await expect(detail).toContainText(QUESTION);
  await expect(detail).toContainText('by the gateway, 4000');
  await expectAccessible(operator);
  await operator.keyboard.press('Escape');
  await expect(detail).toBeHidden();
});

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [1280, 375]) {
    test(`the page is accessible and fits: ${colorScheme}, ${width} px`, async ({ page }) => {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 860 });
      await page.goto('/sessions');
      // The stream stays open, so the network is never idle here.
      await expect(page.locator('[data-watching="live"]')).toBeVisible();
      await expectAccessible(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(overflow).toBeLessThanOrEqual(0);
    });
  }
}

test('a stream that breaks off is told of, and asked for again', async ({ page, expectedErrors }) => {
  expectedErrors.push(/ERR_FAILED/);
  let refusals = 2;
  await page.route('**/api/realtime/sessions', (route) =>
    refusals-- > 0 ? route.abort() : route.continue(),
  );
  await page.goto('/sessions');
  await expect(page.locator('[data-watching="away"]')).toBeVisible();
  await expect(page.getByText('this page keeps trying')).toBeVisible();
  await expect(page.locator('[data-watching="live"]')).toBeVisible();
});

test('a browser without the token is told what to do', async ({ page, guarded, expectedErrors }) => {
  expectedErrors.push(/401/);
  await page.goto(`${guarded.url}/sessions`);
  await expect(page.locator('[data-watching="refused"]')).toBeVisible();
  await expect(page.getByRole('main').getByRole('link', { name: 'Open settings' }).first()).toBeVisible();
  await expectAccessible(page);
});
