// The clients, each opened by its own documented options. `told` is where to go: baseUrl, model and key.
import { createOpenAI } from '@ai-sdk/openai';
import { OpenAIRealtimeWebSocket as AgentsWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { Experimental_AbstractRealtimeSession as AbstractRealtimeSession } from 'ai';
import OpenAI from 'openai';
import { RealtimeClient } from 'openai-realtime-api';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { z } from 'zod';

import { base64, Heard, settings, TOOL, WEATHER_THERE } from './scenarios.mjs';

const isBrowser = typeof window !== 'undefined';

/** The official client over a socket that it opens itself, with events left to the application. */
export function official(connect) {
  return (told) => async (plan) => {
    const client = new OpenAI({ baseURL: told.baseUrl, apiKey: told.key, dangerouslyAllowBrowser: true });
    const heard = new Heard();
    const realtime = connect(client, told.model);
    realtime.on('event', (event) => heard.take(event));
    realtime.on('error', (error) => heard.fail(error));
    await heard.until('session.created');
    realtime.send({ type: 'session.update', session: settings(plan) });
    await heard.until('session.updated');
    return withEvents(heard, (event) => realtime.send(event), () => realtime.close());
  };
}

export const officialBrowser = official((client, model) => new OpenAIRealtimeWebSocket({ model }, client));

/** OpenAI's Agents SDK: it runs functions and cuts what was not heard by itself. */
export function agents(told) {
  return async ({ spoken, tool: wanted }) => {
    const heard = new Heard();
    const weather = tool({
      name: TOOL.name,
      description: TOOL.description,
      parameters: z.object({ city: z.string() }),
      execute: async () => WEATHER_THERE,
    });
    const agent = new RealtimeAgent({ name: 'Ada', instructions: 'Answer in one sentence.', tools: wanted ? [weather] : [] });
    const session = new RealtimeSession(agent, {
      transport: new AgentsWebSocket({ useInsecureApiKey: !told.key.startsWith('ek_') }),
      model: told.model,
      config: { outputModalities: [spoken ? 'audio' : 'text'], audio: settings({ spoken }).audio },
    });
    session.transport.on('*', (event) => heard.take(event));
    session.on('error', (error) => heard.fail(new Error(JSON.stringify(error))));
    await session.connect({ apiKey: told.key, url: `${told.socketUrl}?model=${told.model}` });
    await heard.until('session.updated');
    return {
      heard,
      say: (text) => session.sendMessage(text),
      hear: (sound) => session.sendAudio(sound.slice().buffer),
      close: () => session.close(),
    };
  };
}

/** The AI SDK on a server: it names the address and translates events; the socket is the application's. */
export function aiSdk(told, connect) {
  return async ({ spoken, tool: wanted }) => {
    const provider = createOpenAI({ baseURL: told.baseUrl, apiKey: told.key });
    const model = provider.experimental_realtime(told.model, { api: 'realtime' });
    const heard = new Heard();
    const socket = await connect(model, told);
    const send = (event) => socket.send(JSON.stringify(model.serializeClientEvent(event)));
    socket.addEventListener('message', ({ data }) => {
      const raw = JSON.parse(data);
      const parsed = [model.parseServerEvent(raw)].flat();
      if (parsed.some((event) => event.type === 'error')) heard.fail(new Error(data));
      heard.take(raw);
    });
    socket.addEventListener('error', () => heard.fail(new Error('the socket failed')));
    socket.addEventListener('close', ({ code, reason }) => heard.fail(new Error(`closed: ${code} ${reason}`)));
    await heard.until('session.created');
    send({ type: 'session-update', config: aiSdkConfig(spoken, wanted) });
    await heard.until('session.updated');
    const create = (item) => {
      send({ type: 'conversation-item-create', item });
      send({ type: 'response-create' });
    };
    return {
      heard,
      say: (text) => create({ type: 'text-message', role: 'user', text }),
      hear: (sound) => send({ type: 'input-audio-append', audio: base64(sound) }),
      tell: (callId, output) => create({ type: 'function-call-output', callId, name: TOOL.name, output }),
      cut: (itemId) => send({ type: 'conversation-item-truncate', itemId, contentIndex: 0, audioEndMs: 40 }),
      close: () => socket.close(1000),
    };
  };
}

/**
 * The AI SDK in a page: its session asks the application's server for a secret and an address, dials, plays, runs
 * functions and cuts what was not heard.
 */
export function aiSdkSession(told) {
  return async ({ spoken, tool: wanted }) => {
    const heard = new Heard();
    const session = new PlainSession({
      model: createOpenAI({ apiKey: 'none in a page' }).experimental_realtime(told.model, { api: 'realtime' }),
      api: { token: '/secret' },
      sessionConfig: aiSdkConfig(spoken, wanted),
      onEvent: ({ raw }) => heard.take(raw),
      onError: (error) => heard.fail(error),
      onToolCall: () => WEATHER_THERE,
    });
    await session.connect();
    await heard.until('session.updated');
    return {
      heard,
      say: (text) => session.sendTextMessage(text),
      hear: (sound) => session.sendAudio(base64(sound)),
      close: () => session.close(),
    };
  };
}

/** The AI SDK leaves to a framework's binding where a session's state is shown; here it is shown nowhere. */
class PlainSession extends AbstractRealtimeSession {
  setState() {}
}

function aiSdkConfig(spoken, tool) {
  return {
    outputModalities: [spoken ? 'audio' : 'text'],
    inputAudioTranscription: { model: 'gpt-4o-mini-transcribe' },
    turnDetection: { type: 'server-vad', silenceDurationMs: 500 },
    ...(tool ? { tools: [{ ...TOOL, type: 'function' }] } : {}),
  };
}

/** The library of the original proof of concept, which knows the retired dialect alone. It runs functions itself. */
export function proofOfConcept(told) {
  return async ({ spoken, tool: wanted }) => {
    const heard = new Heard();
    const client = new RealtimeClient({
      url: told.socketUrl,
      apiKey: told.key,
      model: told.retiredModel,
      dangerouslyAllowAPIKeyInBrowser: isBrowser,
      sessionConfig: {
        modalities: spoken ? ['text', 'audio'] : ['text'],
        input_audio_transcription: { model: 'whisper-1' },
        turn_detection: { type: 'server_vad', silence_duration_ms: 500 },
      },
    });
    client.on('realtime.event', ({ source, event }) => source === 'server' && heard.take(event));
    client.on('error', (event) => heard.fail(new Error(JSON.stringify(event))));
    if (wanted) client.addTool({ ...TOOL }, async () => WEATHER_THERE);
    await client.connect();
    await client.waitForSessionCreated();
    return {
      heard,
      say: (text) => client.sendUserMessageContent([{ type: 'input_text', text }]),
      hear: (sound) => client.appendInputAudio(new Int16Array(sound.slice().buffer)),
      // Its cancelResponse would cancel, too, what speech has cancelled already.
      cut: (item) =>
        client.realtime.send('conversation.item.truncate', { item_id: item, content_index: 0, audio_end_ms: 40 }),
      close: () => client.disconnect(),
    };
  };
}

function withEvents(heard, send, close) {
  const create = (item) => {
    send({ type: 'conversation.item.create', item });
    send({ type: 'response.create' });
  };
  return {
    heard,
    say: (text) => create({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] }),
    hear: (sound) => send({ type: 'input_audio_buffer.append', audio: base64(sound) }),
    tell: (callId, output) => create({ type: 'function_call_output', call_id: callId, output }),
    cut: (item) => send({ type: 'conversation.item.truncate', item_id: item, content_index: 0, audio_end_ms: 40 }),
    close,
  };
}
