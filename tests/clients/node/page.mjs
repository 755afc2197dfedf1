// A page: goes through the scenarios with one client in a browser, and hands in what came of them.
import { agents, aiSdk, officialBrowser, proofOfConcept } from './clients.mjs';
import { goThrough } from './scenarios.mjs';

const clients = {
  openai: officialBrowser,
  agents,
  // The address is that of the AI SDK's own client secrets: the host alone, whatever base URL the secret was made at.
  'ai-sdk': (told) =>
    aiSdk(told, (model) => {
      const { url, protocols } = model.getWebSocketConfig({ token: told.key, url: told.rootUrl });
      return new WebSocket(url, protocols);
    }),
  'proof-of-concept': proofOfConcept,
};

const told = await (await fetch('/told')).json();
const speech = new Uint8Array(await (await fetch('/speech')).arrayBuffer());
const reports = await goThrough(clients[told.client](told), speech);
await fetch('/reports', { method: 'POST', body: JSON.stringify(reports) });
