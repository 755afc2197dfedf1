/** What strangers wrote is text on every page, whoever they are: models, callers, people who name things. */
import type { Page } from '@playwright/test';

import { expect, test } from './fixtures';

const MARKUP =
  '<img src=x onerror="window.ran=1"><script>window.ran=1</script><svg onload="window.ran=1">' +
  '<a href="javascript:window.ran=1">x</a>';
const ANSWER = `${MARKUP}\n\n[link](javascript:window.ran=1)\n\n\`\`\`html\n${MARKUP}\n\`\`\`\n\n# ${MARKUP}`;
const CONVERSATION = 'badc0ffeebadc0ffeebadc0ffee00001';

/** The text is shown, and none of it is anything else. */
async function expectText(page: Page): Promise<void> {
  await expect(page.getByText('<img src=x onerror=').first()).toBeVisible();
  await expect(page.locator('img[src="x"], [onerror], [onload], a[href^="javascript:"]')).toHaveCount(0);
  expect(await page.evaluate(() => (window as { ran?: number }).ran)).toBeUndefined();
}

test('markup in what models, callers and people wrote is shown as the text it is', async ({
  page,
  request,
  gateway,
}) => {
  const headers = { origin: gateway.url, 'x-trunkline-console': '1' };
  const change = { logging: { payloads: true } };
  expect((await request.patch('/api/gateways/default', { headers, data: change })).ok()).toBe(true);
  const asked = await request.post('/v1/local/default/local/chat/completions', {
    headers: {
      'cf-aig-metadata': JSON.stringify({ team: MARKUP, [MARKUP.slice(0, 40)]: 'x' }),
      'user-agent': MARKUP,
    },
    data: { model: 'test/echo', user: MARKUP, messages: [{ role: 'user', content: ANSWER }] },
  });
  expect(await asked.text()).toContain('<img src=x');
  const message = { created_at: 1, provider: MARKUP.slice(0, 60), model: MARKUP };
  const kept = await request.put(`/api/conversations/${CONVERSATION}`, {
    headers,
    data: {
      title: MARKUP,
      head: 'a',
      messages: [
        { ...message, id: 'q', parent: null, role: 'user', text: ANSWER },
        { ...message, id: 'a', parent: 'q', role: 'assistant', text: ANSWER },
      ],
    },
  });
  expect(kept.ok(), await kept.text()).toBe(true);
  for (const path of [
    `/chat/${CONVERSATION}`,
    '/history',
    `/logs/${asked.headers()['cf-aig-log-id'] ?? ''}`,
  ]) {
    await page.goto(path);
    await expectText(page);
  }
});
