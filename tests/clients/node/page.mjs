// A page: goes through the scenarios with one client in a browser, and hands in what came of them.
import { agents, aiSdkSession, officialBrowser, proofOfConcept } from './clients.mjs';
import { goThrough } from './scenarios.mjs';

const clients = {
  openai: officialBrowser,
  agents,
  'ai-sdk': aiSdkSession,
  'proof-of-concept': proofOfConcept,
};

const told = await (await fetch('/told')).json();
const speech = new Uint8Array(await (await fetch('/speech')).arrayBuffer());
const reports = await goThrough(clients[told.client](told), speech);
await fetch('/reports', { method: 'POST', body: JSON.stringify(reports) });
