/** Where a page could keep a secret, and what it shows of one when it dials. */
import { expect, type Page } from '@playwright/test';

import { KEY, TOKEN } from './fixtures';

/** Settings of this browser's session, as the settings page would set them. */
export async function changeSession(page: Page, url: string, change: object): Promise<void> {
  const headers = { origin: url, 'x-trunkline-console': '1' };
  const answer = await page.request.put(`${url}/api/session`, { headers, data: change });
  expect(answer.status()).toBe(200);
}

/** Fails when a key, the token or a client secret is anywhere in the page's storage, address or content. */
export async function expectNoSecret(page: Page, ...others: string[]): Promise<void> {
  const kept = await page.evaluate(async () =>
    JSON.stringify([
      { ...localStorage },
      { ...sessionStorage },
      await indexedDB.databases(),
      await caches.keys(),
      history.state,
      document.cookie,
      location.href,
      window.name,
      [...document.querySelectorAll('input, textarea')].map((field) => (field as HTMLInputElement).value),
    ]),
  );
  // What would be in one is not looked through: there is none.
  expect(await page.evaluate(() => indexedDB.databases())).toEqual([]);
  for (const place of [kept, await page.content(), ...others]) {
    for (const secret of [KEY, TOKEN, 'ek_tl_']) expect(place).not.toContain(secret);
  }
}

/** The sub-protocols of every WebSocket that the page opens from now on, as they go over the wire. */
export async function offeredProtocols(page: Page): Promise<string[][]> {
  const offered: string[][] = [];
  const session = await page.context().newCDPSession(page);
  session.on('Network.webSocketWillSendHandshakeRequest', ({ request }) => {
    offered.push((request.headers['Sec-WebSocket-Protocol'] ?? '').split(/,\s*/));
  });
  await session.send('Network.enable');
  return offered;
}
