import type { Page } from '@playwright/test';

import { expect, expectAccessible, test } from './fixtures';
import { start, type Program } from './program';

const PASSWORD = 'a horse that staples batteries';

let own: Program;

test.beforeAll(async () => {
  own = await start(['serve', '--port', '0']);
});
test.afterAll(() => own.stop());

const linkIn = (output: string): string => /\S+\/login#\S+/.exec(output)?.[0] ?? '';
const dialog = (page: Page) => page.getByRole('dialog');

test('people are invited, given a role, blocked and removed, and the audit log says by whom', async ({
  page,
  browser,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 40[013]/);
  await page.goto(`${own.url}/people`);
  await expect(page.getByRole('heading', { name: 'There is no account yet' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Invite somebody' })).toHaveCount(0);
  await expectAccessible(page);

  await expect.poll(() => linkIn(own.output())).not.toBe('');
  await page.goto(linkIn(own.output()));
  await page.getByLabel('Name').fill('Ada');
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Make the account' }).click();
  await expect(page.getByRole('link', { name: 'Signed in as Ada' })).toBeVisible();

  await page.goto(`${own.url}/people`);
  await page.getByRole('button', { name: 'Invite somebody' }).click();
  await dialog(page).getByLabel('Name').fill('Grace');
  await dialog(page).getByLabel('Role').selectOption('viewer');
  await dialog(page).getByRole('button', { name: 'Make the link' }).click();
  const link = (await page.locator('[data-secret]').textContent()) ?? '';
  expect(link).toContain('/login#');
  await expectAccessible(page);
  await page.getByRole('button', { name: 'I have stored it' }).click();
  await expect(page.locator('[data-user="Grace"]')).toContainText('invited');
  expect(await page.content()).not.toContain(link.split('#')[1]);

  const hers = await (await browser.newContext()).newPage();
  await hers.goto(link);
  await hers.getByLabel('New password').fill(`${PASSWORD} too`);
  await hers
    .getByRole('button')
    .filter({ hasText: /password|account/i })
    .first()
    .click();
  await expect(hers.getByRole('link', { name: 'Signed in as Grace' })).toBeVisible();
  await hers.goto(`${own.url}/people`);
  await expect(hers.getByText('for administrators. Ask one of them')).toBeVisible();
  await hers.goto(`${own.url}/access`);
  await expect(hers.getByText('changed by an editor')).toBeVisible();
  await expect(hers.getByRole('button', { name: 'New key' })).toHaveCount(0);
  await expectAccessible(hers);

  await page.reload();
  await page.getByLabel('Role of Grace').selectOption('editor');
  await expect(page.locator('[data-action="user.role"]')).toHaveCount(0);
  await page.getByLabel('Role of Ada').selectOption('viewer');
  await expect(page.getByRole('alert')).toContainText('Ada was not changed');
  await expect(page.getByLabel('Role of Ada')).toHaveValue('admin');
  await page.getByRole('button', { name: 'Block Grace' }).click();
  await dialog(page).getByRole('button', { name: 'Block', exact: true }).click();
  await expect(page.locator('[data-user="Grace"]')).toContainText('blocked');
  await hers.reload();
  await expect(hers.getByRole('heading', { level: 1 })).toHaveText('Sign in');
  await hers.context().close();
  await page.getByRole('button', { name: 'Unblock Grace' }).click();
  await page.getByRole('button', { name: 'Remove Grace' }).click();
  await dialog(page).getByRole('button', { name: 'Remove the account' }).click();
  await expect(page.locator('[data-user]')).toHaveCount(1);

  await page.getByLabel('What').selectOption('accounts');
  await expect(page).toHaveURL(/what=user/);
  await expect(page.locator('[data-action]').first()).toHaveAttribute('data-action', 'user.delete');
  await expect(page.locator('[data-action="user.role"]')).toContainText('Ada');
  await expect(page.locator('[data-action="user.role"]')).toContainText('from 127.0.0.1');
  await page.setViewportSize({ width: 375, height: 800 });
  await expectAccessible(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
});
