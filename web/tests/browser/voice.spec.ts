import { type Page } from '@playwright/test';

import { expect, receivedAudio, sharedWords, soundLevel, test } from './fixtures';
import { microphone, QUESTION } from './said';
import { wav } from './wav';

test.use({ launchOptions: async ({ launchOptions }, use) => use(withMicrophone(launchOptions, 'question')) });

for (const path of ['/voice', '/direct/']) {
  test(`${path}: a spoken question is heard, answered, spoken and shown on both sides`, async ({ page, gateway }) => {
    const pieces = receivedAudio(page);
    await page.goto(path);
    await connect(page);
    const transcript = page.getByRole('log', { name: 'Transcript' });
    await expect(transcript).toContainText(QUESTION);
    await expect(transcript).toContainText('Paris');
    await expect.poll(() => soundLevel(page), { message: 'the answer is heard' }).toBeGreaterThan(0.01);
    await expect.poll(() => phase(page)).toBe('listening');
    const samples = new Int16Array(Buffer.concat(pieces).buffer.slice(0));
    const said = await transcript.innerText();
    const heard = await words(gateway.url, samples);
    expect(sharedWords(heard, said), `heard: ${heard}\nshown: ${said}`).toBeGreaterThan(0.7);
    await page.getByRole('button', { name: 'Disconnect' }).click();
    await expect(panel(page)).toHaveAttribute('data-status', 'idle');
  });
}

test('a typed message is answered in speech too', async ({ page }) => {
  await page.goto('/voice');
  await connect(page);
  await page.getByRole('textbox', { name: 'Type instead' }).fill('What is the capital of Italy?');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('log', { name: 'Transcript' })).toContainText('What is the capital of Italy?');
  await expect.poll(() => soundLevel(page)).toBeGreaterThan(0.01);
});

async function connect(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await expect(panel(page)).toHaveAttribute('data-status', 'live');
}

function panel(page: Page) {
  return page.locator('[data-status]');
}

function phase(page: Page): Promise<string | null> {
  return panel(page).getAttribute('data-phase');
}

async function words(url: string, samples: Int16Array): Promise<string> {
  const form = new FormData();
  form.set('model', 'local');
  form.set('file', new Blob([new Uint8Array(wav(samples))]), 'answer.wav');
  const answer = await fetch(`${url}/v1/local/default/local/audio/transcriptions`, { method: 'POST', body: form });
  return ((await answer.json()) as { text: string }).text;
}

function withMicrophone<T extends { args?: string[] }>(options: T, name: 'question'): T {
  return { ...options, args: [...(options.args ?? []), microphone(name)] };
}
