// The official npm client, unmodified, as a program: BASE_URL names the gateway, API_KEY is shown to it.
// Prints one JSON line: what it heard over HTTP and over both of its realtime sockets.
import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { WebSocket } from 'ws';

const QUESTION = 'What is the capital of France?';
const client = new OpenAI({
  baseURL: process.env.BASE_URL,
  apiKey: process.env.API_KEY,
  dangerouslyAllowBrowser: true,
});

const stream = await client.chat.completions.create({
  model: 'local',
  messages: [{ role: 'user', content: QUESTION }],
  stream: true,
});
let chat = '';
for await (const chunk of stream) chat += chunk.choices[0]?.delta.content ?? '';

const headers = await textTurn(new OpenAIRealtimeWS({ model: 'local' }, client));
// Its browser client wants the WebSocket of a browser, which offers the key as a sub-protocol.
globalThis.WebSocket = WebSocket;
const subprotocols = await textTurn(new OpenAIRealtimeWebSocket({ model: 'local' }, client));
console.log(JSON.stringify({ chat, headers, subprotocols }));

function textTurn(realtime) {
  return new Promise((resolve, reject) => {
    let said = '';
    realtime.on('error', reject);
    realtime.on('session.created', () => {
      realtime.send({ type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } });
      realtime.send({
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: QUESTION }] },
      });
      realtime.send({ type: 'response.create' });
    });
    realtime.on('response.output_text.delta', (event) => (said += event.delta));
    realtime.on('response.done', () => {
      realtime.close();
      resolve(said);
    });
  });
}
