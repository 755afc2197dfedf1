import { expect, receivedAudio, soundLevel, test } from './fixtures';
import { microphone } from './said';
import { connect, transcript } from './voice-page';
import { RATE } from './wav';

const SILENCE = 0.003;

test.use(microphone('interruption'));

test('speaking while the assistant speaks stops its sound, and the rest is never played', async ({
  page,
}) => {
  const pieces = receivedAudio(page);
  await page.goto('/voice');
  await connect(page);
  await expect.poll(() => soundLevel(page), { message: 'the assistant speaks' }).toBeGreaterThan(0.01);
  const interrupted = transcript(page)
    .getByText(/interrupted at/)
    .first();
  await expect(interrupted).toBeVisible({ timeout: 60_000 });
  const received = pieces.reduce((bytes, piece) => bytes + piece.length, 0) / 2 / RATE;
  await expect.poll(() => soundLevel(page), { message: 'the sound stops' }).toBeLessThan(SILENCE);
  const played = Number(/interrupted at ([\d.]+)/.exec(await interrupted.innerText())?.[1]);
  expect(played).toBeGreaterThan(0);
  expect(played, 'part of the answer was thrown away').toBeLessThan(received);
});
