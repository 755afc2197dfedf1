/** Steps on the voice pages. */
import { expect, type Locator, type Page } from '@playwright/test';

export function panel(page: Page): Locator {
  return page.locator('[data-status]');
}

export function transcript(page: Page): Locator {
  return page.getByRole('log', { name: 'Transcript' });
}

export async function connect(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await expect(panel(page)).toHaveAttribute('data-status', 'live');
}

export async function type(page: Page, text: string): Promise<void> {
  await page.getByRole('textbox', { name: 'Type instead' }).fill(text);
  await page.keyboard.press('Enter');
}
