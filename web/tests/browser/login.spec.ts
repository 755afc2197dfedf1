import type { Page } from '@playwright/test';

import { expect, expectAccessible, test } from './fixtures';
import { start, type Program } from './program';

const PASSWORD = 'a horse that staples batteries';
const OTHER_PASSWORD = 'eleven blue elephants dancing';

test.describe.configure({ mode: 'serial' });

let gateway: Program;
let link: string;

test.beforeAll(async () => {
  gateway = await start(['serve', '--port', '0']);
  await expect.poll(() => linkIn(gateway.output())).not.toBe('');
  link = linkIn(gateway.output());
});
test.afterAll(() => gateway.stop());

test('before there is an account nobody signs in, and the page of it says how to make one', async ({
  page,
}) => {
  await page.goto(`${gateway.url}/login`);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Nobody has to sign in here');
  await expectAccessible(page);
  await page.getByRole('link', { name: 'Go to the console' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Overview');
});

test('the printed link makes the first account, and its token is gone from the address at once', async ({
  page,
  context,
}) => {
  const addresses: string[] = [];
  page.on('request', (request) => addresses.push(request.url()));
  await page.goto(link);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Make the first account');
  expect(page.url()).toBe(`${gateway.url}/login`);
  await expectAccessible(page);
  await page.getByLabel('Name').fill('Ada');
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Make the account' }).click();
  await expect(page.getByRole('link', { name: 'Signed in as Ada' })).toBeVisible();

  const token = link.split('#')[1] ?? 'no token';
  const stored = await page.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]),
  );
  expect(stored + addresses.join()).not.toContain(token);
  const cookie = (await context.cookies()).find(({ name }) => name === 'trunkline_sign_in');
  expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict' });
  expect(stored).not.toContain(cookie?.value);
});

test('a used link is refused, and whoever is not signed in sees the form on every page', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 401/);
  await page.goto(link);
  await expect(page.getByRole('alert')).toHaveText(/was used or has expired/);
  for (const path of ['/', '/chat', '/voice', '/sessions', '/settings', '/direct/']) {
    await page.goto(gateway.url + path);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Sign in');
  }
  await expectAccessible(page);
  await signIn(page, 'not the password');
  await expect(page.getByRole('alert')).toHaveText('The name or the password is wrong.');
});

test('a person signs in where they were, changes the password and signs out again', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 401/);
  await page.goto(`${gateway.url}/settings`);
  await signIn(page, PASSWORD);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Settings');
  await page.getByText('Change the password').click();
  await page.getByLabel('Current password').fill('not the password');
  await page.getByLabel('New password').fill(OTHER_PASSWORD);
  await page.getByRole('button', { name: 'Set the password' }).click();
  await expect(page.getByRole('alert')).toHaveText('The current password is wrong.');
  await page.getByLabel('Current password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Set the password' }).click();
  await expect(page.getByText('The password is changed.').first()).toBeVisible();
  await expectAccessible(page);

  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Sign in');
  await signIn(page, OTHER_PASSWORD);
  await expect(page.getByRole('link', { name: 'Signed in as Ada' })).toBeVisible();
  await page.reload();
  await expect(page.getByRole('link', { name: 'Signed in as Ada' })).toBeVisible();
});

async function signIn(page: Page, password: string): Promise<void> {
  await page.getByLabel('Name').fill('ada');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

function linkIn(output: string): string {
  return /\S+\/login#\S+/.exec(output)?.[0] ?? '';
}
