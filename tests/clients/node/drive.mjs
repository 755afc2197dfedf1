// A program: goes through the scenarios with one client in Node, and prints one line of JSON with what came of them.
import { readFile } from 'node:fs/promises';

import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { WebSocket } from 'ws';

import { agents, aiSdk, official, proofOfConcept } from './clients.mjs';
import { goThrough } from './scenarios.mjs';

const told = JSON.parse(process.env.TOLD);
const clients = {
  openai: official((client, model) => new OpenAIRealtimeWS({ model }, client)),
  agents,
  'ai-sdk': (there) =>
    aiSdk(there, async (model) => {
      const { url, headers } = await model.getServerWebSocketConfig();
      return new WebSocket(url, { headers });
    }),
  'proof-of-concept': proofOfConcept,
};

const speech = new Uint8Array(await readFile(told.speech));
console.log(JSON.stringify(await goThrough(clients[told.client](told), speech)));
process.exit(0);
