import { readFile } from 'node:fs/promises';

import { expect, KEY, test, TOKEN } from './fixtures';
import { changeSession, expectNoSecret, offeredProtocols } from './secrets';
import { connect, panel, transcript, type } from './voice-page';

const EPHEMERAL = /^openai-insecure-api-key\.ek_tl_[0-9a-f]{48}$/;
const MINT = '**/realtime/client_secrets';
const CALL = { provider: 'openai', model: 'local', realtime_model: 'local' };

test('a call shows the gateway an ephemeral secret, another each time, and the page keeps none', async ({
  page,
  gateway,
}) => {
  const addresses: string[] = [];
  page.on('request', (request) => addresses.push(request.url()));
  page.on('websocket', (socket) => addresses.push(socket.url()));
  await changeSession(page, gateway.url, { ...CALL, provider_key: KEY });
  const offered = await offeredProtocols(page);
  await page.goto('/voice');
  await connect(page);
  await type(page, 'What is the capital of France?');
  await expect(transcript(page)).toContainText('Paris');
  await page.getByRole('button', { name: 'Disconnect' }).click();
  await expect(panel(page)).toHaveAttribute('data-status', 'idle');
  await connect(page);
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export JSONL' }).click();
  const log = await readFile(await (await download).path(), 'utf8');
  expect(log).toContain('session.created');
  await page.getByRole('button', { name: 'Disconnect' }).click();

  expect(offered.map(([first]) => first)).toEqual(['realtime', 'realtime']);
  expect(offered.map((protocols) => protocols.length)).toEqual([2, 2]);
  const secrets = offered.map((protocols) => protocols[1] ?? '');
  for (const secret of secrets) expect(secret).toMatch(EPHEMERAL);
  expect(new Set(secrets).size).toBe(2);
  await expectNoSecret(page, log, addresses.join(), gateway.output());
});

test('the secret of a call is good once and for that provider', async ({ page, gateway }) => {
  await changeSession(page, gateway.url, { ...CALL, provider_key: KEY });
  const offered = await offeredProtocols(page);
  await page.goto('/voice');
  await connect(page);
  const secret = offered[0]?.[1]?.replace('openai-insecure-api-key.', '') ?? '';
  for (const provider of ['openai', 'local']) {
    const answer = await fetch(`${gateway.url}/v1/local/default/${provider}/models`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    expect(answer.status).toBe(401);
  }
});

test('without a key the call is refused in words, with the way to the settings', async ({
  page,
  gateway,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 401/);
  await changeSession(page, gateway.url, CALL);
  await page.goto('/voice');
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  const problem = page.locator('[data-problem="refused"]');
  await expect(problem).toContainText('The gateway has no key for OpenAI');
  await expect(problem.getByRole('link', { name: 'Open settings' })).toBeVisible();
  await expect(panel(page)).toHaveAttribute('data-status', 'failed');
});

test('a gateway that wants its token says so', async ({ page, guarded, expectedErrors }) => {
  expectedErrors.push(/status of 401/);
  await page.goto(`${guarded.url}/voice`);
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  const problem = page.locator('[data-problem="refused"]');
  await expect(problem).toContainText('it is authenticated, and no credential was sent');
  await expect(problem.getByRole('link', { name: 'Open settings' })).toBeVisible();
  await changeSession(page, guarded.url, { gateway_token: TOKEN, use_authenticated_gateway: true });
  await page.getByRole('button', { name: 'Connect again' }).click();
  await expect(panel(page)).toHaveAttribute('data-status', 'live');
  await expectNoSecret(page);
});

test('a request that the gateway does not understand is told in its words', async ({
  page,
  expectedErrors,
}) => {
  expectedErrors.push(/status of 400/);
  const error = { message: 'session.model is the name of a model, as text.', code: 'malformed_request' };
  await page.route(MINT, (route) => route.fulfill({ status: 400, json: { error } }));
  await page.goto('/voice');
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await expect(page.locator('[data-problem="refused"]')).toContainText(error.message);
});

test('a gateway that is away for a moment is waited for', async ({ page, expectedErrors }) => {
  expectedErrors.push(/ERR_FAILED/);
  let failures = 2;
  await page.route(MINT, (route) => ((failures -= 1) >= 0 ? route.abort() : route.continue()));
  await page.goto('/voice');
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await expect(panel(page)).toHaveAttribute('data-status', 'reconnecting');
  await expect(panel(page)).toHaveAttribute('data-status', 'live');
});

for (const [what, status] of [
  ['the gateway stays away', 0],
  ['a proxy answers in its place', 503],
] as const) {
  test(`there is no connection where ${what}`, async ({ page, expectedErrors }) => {
    expectedErrors.push(/ERR_FAILED|status of 503/);
    await page.route(MINT, (route) =>
      status === 0 ? route.abort() : route.fulfill({ status, body: '<html>' }),
    );
    await page.goto('/voice');
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await expect(page.locator('[data-problem="unreachable"]')).toContainText('No connection');
    await expect(page.getByRole('button', { name: 'Connect again' })).toBeVisible();
  });
}
