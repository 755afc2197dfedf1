// What every client goes through, whatever its own interface is called.
//
// A client is opened with a plan (how to answer, which function it has) and gives: say(text), hear(base64 of 16-bit
// sound at 24 kHz), tell(output of a function), cut(item id), close(), and events of the protocol as they come, in
// either dialect.

export const GREETING = 'What is the capital of France?';
const WEATHER = 'What is the weather like in Paris?';
const STORY = 'Tell me a very long story about the sea. I want a long story.';
export const TOOL = {
  type: 'function',
  name: 'get_weather',
  description: 'Get the weather in a city.',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};
export const WEATHER_THERE = 'rain at nine degrees';
const FRAME_BYTES = 1920; // 40 ms
const QUIET_FRAMES = 40;
const LIMIT_MS = 60_000; // only ends a scenario that hangs

/** Collects what a client hears, and waits for what is still to come. */
export class Heard {
  constructor() {
    this.events = [];
    this.waiting = [];
  }

  /** Take an event. The two dialects are told apart by one word, which does not matter here. */
  take(event) {
    const type = event.type.replace('response.output_', 'response.').replace('response.item', 'response.output_item');
    this.events.push({ ...event, type });
    this.waiting = this.waiting.filter((look) => !look());
  }

  fail(error) {
    this.error = error;
    this.waiting = this.waiting.filter((look) => !look());
  }

  /** Wait for the first event from a place on that passes. */
  next(from, passes) {
    return new Promise((resolve, reject) => {
      const alarm = setTimeout(
        () => reject(new Error(`nothing came: ${this.events.map((event) => event.type).join(' ')}`)),
        LIMIT_MS,
      );
      const look = () => {
        const place = this.events.findIndex((event, at) => at >= from && passes(event));
        const refusal = this.events.find((event) => event.type === 'error');
        if (place < 0 && !refusal && !this.error) return false;
        clearTimeout(alarm);
        if (place >= 0) resolve(this.events[place]);
        else reject(this.error ?? new Error(JSON.stringify(refusal)));
        return true;
      };
      if (!look()) this.waiting.push(look);
    });
  }

  until(type, from = 0) {
    return this.next(from, (event) => event.type === type);
  }

  words(type) {
    return this.events.filter((event) => event.type === type).map((event) => event.delta).join('');
  }
}

async function speak(client, speech) {
  const sound = new Uint8Array(speech.length + FRAME_BYTES * QUIET_FRAMES);
  sound.set(speech);
  for (let at = 0; at < sound.length; at += FRAME_BYTES) {
    client.hear(sound.subarray(at, at + FRAME_BYTES));
    await new Promise((done) => setTimeout(done, 20));
  }
}

const scenarios = {
  async text(open) {
    const client = await open({ spoken: false });
    client.say(GREETING);
    const done = await client.heard.until('response.done');
    return {
      said: client.heard.words('response.text.delta'),
      status: done.response.status,
      tokens: done.response.usage.total_tokens,
      close: () => client.close(),
    };
  },

  async speech(open, speech) {
    const client = await open({ spoken: true });
    const speaking = speak(client, speech);
    const written = await client.heard.until('conversation.item.input_audio_transcription.completed');
    const done = await client.heard.until('response.done');
    await speaking;
    const types = client.heard.events.map((event) => event.type);
    const order = ['input_audio_buffer.speech_started', 'input_audio_buffer.speech_stopped', 'response.created'];
    return {
      heard: written.transcript,
      said: client.heard.words('response.audio_transcript.delta'),
      sound: client.heard.words('response.audio.delta').length,
      inOrder: order.map((type) => types.indexOf(type)).every((at, place, all) => at >= 0 && (!place || at > all[place - 1])),
      status: done.response.status,
      close: () => client.close(),
    };
  },

  async function(open) {
    const client = await open({ spoken: false, tool: TOOL });
    client.say(WEATHER);
    const call = await client.heard.next(0, (event) => event.type === 'response.function_call_arguments.done');
    const first = await client.heard.until('response.done');
    client.tell?.(call.call_id, WEATHER_THERE);
    await client.heard.until('response.done', client.heard.events.indexOf(first) + 1);
    return {
      name: first.response.output[0].name,
      arguments: call.arguments,
      said: client.heard.words('response.text.delta'),
      close: () => client.close(),
    };
  },

  async bargeIn(open, speech) {
    const client = await open({ spoken: true });
    client.say(STORY);
    const { item_id: item } = await client.heard.until('response.audio.delta');
    const speaking = speak(client, speech);
    const done = await client.heard.until('response.done');
    client.cut?.(item);
    const cut = await client.heard.until('conversation.item.truncated');
    await speaking;
    return {
      status: done.response.status,
      reason: done.response.status_details.reason,
      truncated: cut.item_id === item,
      close: () => client.close(),
    };
  },
};

/** Go through all scenarios, one after another; return what came of each. */
export async function goThrough(open, speech) {
  const reports = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    try {
      const { close, ...report } = await scenario(open, speech);
      close();
      reports[name] = report;
    } catch (error) {
      reports[name] = { failure: String(error?.stack ?? error?.message ?? error) };
    }
  }
  return reports;
}

/** Settings in the current dialect, for clients that leave them to the application. */
export function settings({ spoken, tool }) {
  return {
    type: 'realtime',
    output_modalities: [spoken ? 'audio' : 'text'],
    audio: {
      input: {
        transcription: { model: 'gpt-4o-mini-transcribe' },
        turn_detection: { type: 'server_vad', silence_duration_ms: 500 },
      },
    },
    ...(tool ? { tools: [tool] } : {}),
  };
}

export function base64(bytes) {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
