import { expect, expectAccessible, soundLevel, test } from './fixtures';
import { blockedMicrophone } from './said';
import { connect, transcript, type } from './voice-page';

test.use(blockedMicrophone);

test('a blocked microphone has its own words, and typing still works', async ({ page }) => {
  await page.goto('/voice');
  await connect(page);
  await expect(page.getByText('The microphone is blocked')).toBeVisible();
  await expectAccessible(page);
  await type(page, 'What is the capital of France?');
  await expect(transcript(page)).toContainText('Paris');
  await expect.poll(() => soundLevel(page)).toBeGreaterThan(0.01);
});
