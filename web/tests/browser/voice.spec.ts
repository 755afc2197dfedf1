import { expect, receivedAudio, soundLevel, test } from './fixtures';
import { microphone, QUESTION, sharedWords } from './said';
import { connect, panel, transcript, type } from './voice-page';
import { wav } from './wav';

test.use(microphone('question'));

for (const path of ['/voice', '/direct/']) {
  test(`${path}: a spoken question is heard, answered, spoken and shown on both sides`, async ({
    page,
    gateway,
  }) => {
    const pieces = receivedAudio(page);
    await page.goto(path);
    await connect(page);
    await expect(transcript(page)).toContainText(QUESTION);
    await expect.poll(() => soundLevel(page), { message: 'the answer is heard' }).toBeGreaterThan(0.01);
    await expect(panel(page)).toHaveAttribute('data-phase', 'listening');
    const samples = new Int16Array(Uint8Array.from(Buffer.concat(pieces)).buffer);
    const said = await transcript(page).innerText();
    const heard = await words(gateway.url, samples);
    expect(sharedWords(heard, said), `heard: ${heard}\nshown: ${said}`).toBeGreaterThan(0.7);
    await page.getByRole('button', { name: 'Disconnect' }).click();
    await expect(panel(page)).toHaveAttribute('data-status', 'idle');
  });
}

test('a typed message is answered in speech too', async ({ page }) => {
  await page.goto('/voice');
  await connect(page);
  await type(page, 'What is the capital of Italy?');
  await expect(transcript(page)).toContainText('What is the capital of Italy?');
  await expect.poll(() => soundLevel(page)).toBeGreaterThan(0.01);
});

async function words(url: string, samples: Int16Array): Promise<string> {
  const form = new FormData();
  form.set('model', 'local');
  form.set('file', new Blob([new Uint8Array(wav(samples))]), 'answer.wav');
  const answer = await fetch(`${url}/v1/local/default/local/audio/transcriptions`, {
    method: 'POST',
    body: form,
  });
  return ((await answer.json()) as { text: string }).text;
}
