import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiFailure } from '../api/console';
import { encodeBase64 } from '../audio/pcm';
import type {
  AudioEvent,
  AudioOpened,
  AudioOptions,
  AudioPort,
  FlushReport,
  MicrophoneProblem,
  MicrophoneState,
} from '../audio/port';
import { VoiceController, type VoiceOptions } from './controller';
import { MemoryTransport, TransportFailure, type TransportClose } from './transport';

/** Sound in memory: a test plays the microphone and the speaker. */
class MemoryAudio implements AudioPort {
  opened: AudioOpened = { output: true, microphone: true, problem: null };
  microphoneAnswer: MicrophoneProblem | null = null;
  flushed: FlushReport = { item: null, playedMs: 0, droppedMs: 0, silentInMs: 0 };
  isOpen = false;
  microphone: MicrophoneState = 'open';
  readonly asked: AudioOptions[] = [];
  readonly microphonesAsked: (string | undefined)[] = [];
  readonly played: string[] = [];
  readonly finished: string[] = [];
  flushes = 0;
  #listener: (event: AudioEvent) => void = () => undefined;

  async open(options: AudioOptions): Promise<AudioOpened> {
    this.asked.push(options);
    this.isOpen = true;
    return options.microphone ? this.opened : { ...this.opened, microphone: false };
  }

  async close(): Promise<void> {
    this.isOpen = false;
  }

  async openMicrophone(deviceId?: string): Promise<MicrophoneProblem | null> {
    this.microphonesAsked.push(deviceId);
    return this.microphoneAnswer;
  }

  setMicrophone(state: MicrophoneState): void {
    this.microphone = state;
  }

  async setOutputDevice(): Promise<void> {}

  async resume(): Promise<void> {}

  play(item: string, samples: Int16Array): void {
    this.played.push(`${item} ${samples.length / 24} ms`);
  }

  finish(item: string): void {
    this.finished.push(item);
  }

  async flush(): Promise<FlushReport> {
    this.flushes += 1;
    return this.flushed;
  }

  listen(listener: (event: AudioEvent) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  tell(event: AudioEvent): void {
    this.#listener(event);
  }

  speak(frames: number, rms = -20): void {
    for (let frame = 0; frame < frames; frame += 1) {
      this.tell({ kind: 'frame', samples: new Int16Array(960), level: { rms, peak: rms + 3 } });
    }
  }
}

/** A controller with both its ends in the test's hand. */
class Stage {
  readonly audio = new MemoryAudio();
  readonly transports: MemoryTransport[] = [];
  readonly refusals: (TransportClose | ApiFailure)[] = [];
  now = 0;
  readonly voice = new VoiceController({
    transport: () => {
      const refusal = this.refusals.shift();
      const error = refusal instanceof ApiFailure || !refusal ? refusal : new TransportFailure(refusal);
      const transport = new MemoryTransport(error ?? null);
      this.transports.push(transport);
      return transport;
    },
    audio: this.audio,
    now: () => this.now,
  });

  get server(): MemoryTransport {
    const transport = this.transports.at(-1);
    if (!transport) throw new Error('nobody has dialled');
    return transport;
  }

  /** The types of what the page has sent since the last look, audio frames left out. */
  get said(): string[] {
    const types = this.server.sent
      .map(({ type }) => type)
      .filter((type) => type !== 'input_audio_buffer.append');
    this.server.sent.length = 0;
    return types;
  }

  get framesSent(): number {
    return this.server.sent.filter(({ type }) => type === 'input_audio_buffer.append').length;
  }

  connect(options: Partial<VoiceOptions> = {}): Promise<void> {
    return this.voice.connect({ model: 'local', voice: 'alloy', mode: 'vad', microphone: true, ...options });
  }

  async live(options: Partial<VoiceOptions> = {}): Promise<this> {
    await this.connect(options);
    this.server.deliver({ type: 'session.created', session: {} });
    this.server.deliver(sessionUpdated(options.mode ?? 'vad'));
    this.server.sent.length = 0;
    return this;
  }

  /** The assistant begins to speak: 1000 ms of item a1 have come, and the first sound is heard. */
  replying(responseId = 'r1', itemId = 'a1'): this {
    this.server.deliver(responseCreated(responseId));
    for (let piece = 0; piece < 5; piece += 1) this.server.deliver(audioDelta(responseId, itemId, 200));
    this.audio.tell({ kind: 'started', item: itemId, outputLatencyMs: 10 });
    this.audio.flushed = { item: itemId, playedMs: 240.6, droppedMs: 759, silentInMs: 15 };
    return this;
  }
}

const responseCreated = (id: string) => ({
  type: 'response.created',
  response: { id, conversation_id: 'c' },
});
const responseDone = (id: string, status = 'completed') => ({
  type: 'response.done',
  response: { id, status },
});
const speechStarted = { type: 'input_audio_buffer.speech_started', item_id: 'u1', audio_start_ms: 0 };
const speechStopped = { type: 'input_audio_buffer.speech_stopped', item_id: 'u1', audio_end_ms: 900 };
const audioDelta = (responseId: string, itemId: string, ms: number) => ({
  type: 'response.output_audio.delta',
  response_id: responseId,
  item_id: itemId,
  content_index: 0,
  delta: encodeBase64(new Int16Array(ms * 24)),
});
const sessionUpdated = (mode: string) => ({
  type: 'session.updated',
  session: {
    audio: {
      input: { turn_detection: mode === 'vad' ? { type: 'server_vad', interrupt_response: true } : null },
    },
  },
});
const serverError = (code: string, message = 'No.') => ({
  type: 'error',
  error: { type: 'invalid_request_error', code, message },
});
const abnormal: TransportClose = { code: 1006, reason: '', wasClean: false };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Let promises that are settled already take effect. */
async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

describe('a call', () => {
  it('goes from the click over the microphone and the connection to live', async () => {
    const stage = new Stage();
    const statuses: string[] = [];
    stage.voice.subscribe(({ status }) => {
      if (statuses.at(-1) !== status) statuses.push(status);
    });
    await stage.connect();
    stage.now = 143;
    stage.server.deliver({ type: 'session.created' });
    expect(statuses).toEqual(['asking-microphone', 'connecting', 'live']);
    expect(stage.voice.snapshot).toMatchObject({
      phase: 'listening',
      problem: null,
      connectedAt: 143,
      microphone: true,
      latency: { connect: { last: 143 } },
    });
    await stage.voice.disconnect();
    expect(statuses.slice(3)).toEqual(['closing', 'idle']);
    expect(stage.server.closedBy?.code).toBe(1000);
    expect(stage.audio.isOpen).toBe(false);
  });

  it('opens the sound within the click, before anything is awaited', () => {
    const stage = new Stage();
    void stage.connect({ inputDeviceId: 'mic-2' });
    expect(stage.audio.asked).toEqual([
      { microphone: true, inputDeviceId: 'mic-2', outputDeviceId: undefined },
    ]);
  });

  it('sets up the session as soon as it is created', async () => {
    const stage = new Stage();
    await stage.connect({ instructions: 'Be brief.', transcriptionModel: 'local' });
    expect(stage.server.sent).toEqual([]);
    stage.server.deliver({ type: 'session.created' });
    const format = { type: 'audio/pcm', rate: 24000 };
    expect(stage.server.sent).toEqual([
      {
        type: 'session.update',
        session: {
          type: 'realtime',
          output_modalities: ['audio'],
          instructions: 'Be brief.',
          audio: {
            input: {
              format,
              transcription: { model: 'local' },
              turn_detection: expect.objectContaining({ type: 'server_vad', interrupt_response: true }),
            },
            output: { format, voice: 'alloy' },
          },
        },
      },
    ]);
  });

  it('measures the round trip by the answer to its session update', async () => {
    const stage = new Stage();
    await stage.connect();
    stage.server.deliver({ type: 'session.created' });
    stage.now = 41;
    stage.server.deliver(sessionUpdated('vad'));
    expect(stage.voice.snapshot.latency.roundTrip?.last).toBe(41);
  });

  it('sends the microphone only while it is live', async () => {
    const stage = new Stage();
    await stage.connect();
    stage.audio.speak(3);
    stage.server.deliver({ type: 'session.created' });
    stage.audio.speak(2);
    expect(stage.framesSent).toBe(2);
  });

  it('can be ended while the microphone is asked for', async () => {
    const stage = new Stage();
    const connecting = stage.connect();
    await stage.voice.disconnect();
    await connecting;
    expect(stage.voice.snapshot.status).toBe('idle');
    expect(stage.transports).toHaveLength(0);
  });

  it('hears nothing more from a connection it has left', async () => {
    const stage = await new Stage().live();
    const { server } = stage;
    await stage.voice.disconnect();
    server.deliver(audioDelta('r1', 'a1', 100));
    expect(stage.audio.played).toEqual([]);
    expect(stage.voice.snapshot.status).toBe('idle');
  });

  it('gives levels to those who draw them without rebuilding the snapshot', async () => {
    const stage = await new Stage().live();
    const levels: number[] = [];
    stage.voice.onLevels(({ input }) => levels.push(input));
    const snapshots = vi.fn();
    stage.voice.subscribe(snapshots);
    stage.audio.speak(3, -18);
    expect(levels).toEqual([-18, -18, -18]);
    expect(snapshots).not.toHaveBeenCalled();
  });
});

describe('a turn by voice', () => {
  it('goes from listening over speech and thought to the answer and back', async () => {
    const stage = await new Stage().live();
    const phases = [stage.voice.snapshot.phase];
    const step = (act: () => void) => {
      act();
      phases.push(stage.voice.snapshot.phase);
    };
    step(() => stage.server.deliver(speechStarted));
    step(() => stage.server.deliver(speechStopped));
    step(() => stage.server.deliver(responseCreated('r1')));
    step(() => stage.server.deliver(audioDelta('r1', 'a1', 200)));
    step(() => stage.audio.tell({ kind: 'started', item: 'a1', outputLatencyMs: 10 }));
    step(() => stage.server.deliver(responseDone('r1')));
    step(() => stage.audio.tell({ kind: 'idle', item: 'a1', playedMs: 200 }));
    expect(phases).toEqual([
      'listening',
      'user-speaking',
      'thinking',
      'thinking',
      'thinking',
      'speaking',
      'speaking',
      'listening',
    ]);
  });

  it('plays what comes and says when an item is whole', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(responseCreated('r1'));
    stage.server.deliver(audioDelta('r1', 'a1', 200));
    stage.server.deliver({ ...audioDelta('r1', 'a1', 100), type: 'response.audio.delta' });
    stage.server.deliver({ type: 'response.output_audio.done', item_id: 'a1', response_id: 'r1' });
    expect(stage.audio.played).toEqual(['a1 200 ms', 'a1 100 ms']);
    expect(stage.audio.finished).toEqual(['a1']);
  });

  it('measures from the end of speech to the first byte and the first sound', async () => {
    const stage = await new Stage().live();
    stage.now = 1000;
    stage.audio.speak(1);
    stage.now = 1500;
    stage.server.deliver(speechStopped);
    stage.now = 1900;
    stage.server.deliver(responseCreated('r1'));
    stage.server.deliver(audioDelta('r1', 'a1', 200));
    stage.now = 1960;
    stage.audio.tell({ kind: 'started', item: 'a1', outputLatencyMs: 15 });
    const { toFirstByte, toFirstSound } = stage.voice.snapshot.latency;
    expect([toFirstByte.heard?.last, toFirstByte.spoken?.last]).toEqual([400, 900]);
    expect([toFirstSound.heard?.last, toFirstSound.spoken?.last]).toEqual([475, 975]);
  });

  it('returns to listening when what was heard was no speech', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(speechStarted);
    stage.server.deliver(speechStopped);
    stage.server.deliver({
      type: 'conversation.item.input_audio_transcription.completed',
      item_id: 'u1',
      content_index: 0,
      transcript: ' ',
    });
    expect(stage.voice.snapshot.phase).toBe('listening');
  });

  it('survives audio that is none', async () => {
    const stage = await new Stage().live();
    stage.server.deliver({ ...audioDelta('r1', 'a1', 0), delta: '***' });
    expect(stage.audio.played).toEqual([]);
    expect(stage.voice.snapshot.status).toBe('live');
  });
});

describe('barge-in', () => {
  it('silences, truncates at what was heard and leaves the cancelling to the server', async () => {
    const stage = (await new Stage().live()).replying();
    stage.now = 5000;
    stage.server.deliver(speechStarted);
    expect(stage.audio.flushes).toBe(1);
    expect(stage.voice.snapshot.phase).toBe('interrupted');
    stage.now = 5020;
    await settle();
    expect(stage.server.sent).toEqual([
      { type: 'conversation.item.truncate', item_id: 'a1', content_index: 0, audio_end_ms: 240 },
    ]);
    expect(stage.voice.snapshot).toMatchObject({
      lastInterruption: { itemId: 'a1', atMs: 240 },
      latency: { bargeInToSilence: { last: 35 } },
    });
    expect(stage.voice.snapshot.transcript.items[0]).toMatchObject({
      status: 'interrupted',
      interruptedAtMs: 240,
    });
    stage.server.deliver(responseDone('r1', 'cancelled'));
    expect(stage.voice.snapshot.phase).toBe('interrupted');
    stage.server.deliver(speechStopped);
    expect(stage.voice.snapshot.phase).toBe('thinking');
  });

  it('drops what still comes of the interrupted answer and plays the next one', async () => {
    const stage = (await new Stage().live()).replying();
    stage.server.deliver(speechStarted);
    const before = stage.audio.played.length;
    stage.server.deliver(audioDelta('r1', 'a1', 200));
    stage.server.deliver(audioDelta('r1', 'a2', 200));
    expect(stage.audio.played).toHaveLength(before);
    stage.server.deliver(responseDone('r1', 'cancelled'));
    stage.server.deliver(responseCreated('r2'));
    stage.server.deliver(audioDelta('r2', 'a3', 200));
    expect(stage.audio.played.at(-1)).toBe('a3 200 ms');
  });

  it('cancels where the server does not interrupt itself', async () => {
    const stage = await new Stage().live();
    stage.server.deliver({
      type: 'session.updated',
      session: { audio: { input: { turn_detection: { type: 'server_vad', interrupt_response: false } } } },
    });
    stage.replying();
    stage.server.deliver(speechStarted);
    await settle();
    expect(stage.said).toEqual(['conversation.item.truncate', 'response.cancel']);
  });

  it('cancels nothing when the response is done and only its sound goes on', async () => {
    const stage = (await new Stage().live()).replying();
    stage.server.deliver(responseDone('r1'));
    stage.voice.interrupt();
    await settle();
    expect(stage.said).toEqual(['conversation.item.truncate']);
    expect(stage.voice.snapshot.phase).toBe('listening');
  });

  it('never truncates behind what was received', async () => {
    const stage = (await new Stage().live()).replying();
    stage.audio.flushed = { item: 'a1', playedMs: 1003, droppedMs: 0, silentInMs: 0 };
    stage.server.deliver(speechStarted);
    await settle();
    expect(stage.server.sent).toMatchObject([{ audio_end_ms: 1000 }]);
  });

  it('gives up what is queued when the sound has to be built anew', async () => {
    const stage = (await new Stage().live()).replying();
    stage.audio.tell({ kind: 'rebuilding' });
    expect(stage.audio.flushes).toBe(1);
    await settle();
    expect(stage.said).toEqual(['conversation.item.truncate', 'response.cancel']);
  });

  it('does nothing when the assistant is silent', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(speechStarted);
    await settle();
    expect(stage.audio.flushes).toBe(0);
    expect(stage.said).toEqual([]);
    expect(stage.voice.snapshot.phase).toBe('user-speaking');
  });

  it('by the button cancels what is being made, even before there is sound', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(responseCreated('r1'));
    stage.voice.interrupt();
    await settle();
    expect(stage.said).toEqual(['response.cancel']);
    stage.server.deliver(responseDone('r1', 'cancelled'));
    expect(stage.voice.snapshot.phase).toBe('listening');
  });

  it('takes no late start of a flushed item for sound', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(responseCreated('r1'));
    stage.server.deliver(audioDelta('r1', 'a1', 200));
    stage.server.deliver(speechStarted);
    stage.audio.tell({ kind: 'started', item: 'a1', outputLatencyMs: 0 });
    stage.server.deliver(speechStopped);
    expect(stage.voice.snapshot.phase).toBe('thinking');
  });
});

describe('push-to-talk', () => {
  const talking = { mode: 'push-to-talk' } as const;

  it('asks the server for no turn detection', async () => {
    const stage = new Stage();
    await stage.connect(talking);
    stage.server.deliver({ type: 'session.created' });
    expect(stage.server.sent[0]).toMatchObject({ session: { audio: { input: { turn_detection: null } } } });
  });

  it('sends what is said between press and release, and asks for an answer', async () => {
    const stage = await new Stage().live(talking);
    stage.audio.speak(3);
    expect(stage.framesSent).toBe(0);
    stage.voice.startTalking();
    expect(stage.voice.snapshot).toMatchObject({ phase: 'user-speaking', talking: true });
    stage.audio.speak(5);
    expect(stage.framesSent).toBe(5);
    stage.now += 200;
    stage.voice.stopTalking();
    stage.audio.speak(3);
    expect(stage.said).toEqual(['input_audio_buffer.clear', 'input_audio_buffer.commit', 'response.create']);
    expect(stage.voice.snapshot).toMatchObject({ phase: 'thinking', talking: false });
  });

  it('ignores a press of less than 150 ms and says so', async () => {
    const stage = await new Stage().live(talking);
    stage.voice.startTalking();
    stage.audio.speak(5);
    stage.now += 149;
    stage.voice.stopTalking();
    expect(stage.said).toEqual(['input_audio_buffer.clear', 'input_audio_buffer.clear']);
    expect(stage.voice.snapshot).toMatchObject({ phase: 'listening', hints: ['press-longer'] });
    stage.voice.startTalking();
    expect(stage.voice.snapshot.hints).toEqual([]);
  });

  it('commits nothing when hardly any sound has come', async () => {
    const stage = await new Stage().live(talking);
    stage.voice.startTalking();
    stage.audio.speak(2);
    stage.now += 500;
    stage.voice.stopTalking();
    expect(stage.said).not.toContain('input_audio_buffer.commit');
  });

  it('interrupts the assistant and waits until its response is over before asking anew', async () => {
    const stage = (await new Stage().live(talking)).replying();
    stage.voice.startTalking();
    await settle();
    expect(stage.said).toEqual(['input_audio_buffer.clear', 'conversation.item.truncate', 'response.cancel']);
    stage.audio.speak(5);
    stage.now += 300;
    stage.voice.stopTalking();
    expect(stage.said).toEqual(['input_audio_buffer.commit']);
    stage.server.deliver(responseDone('r1', 'cancelled'));
    expect(stage.said).toEqual(['response.create']);
  });

  it('takes a second press for the same while the button is down', async () => {
    const stage = await new Stage().live(talking);
    stage.voice.startTalking();
    stage.voice.startTalking();
    expect(stage.said).toEqual(['input_audio_buffer.clear']);
  });

  it('can be chosen during a call', async () => {
    const stage = await new Stage().live();
    stage.voice.setMode('push-to-talk');
    expect(stage.server.sent).toEqual([
      { type: 'session.update', session: { type: 'realtime', audio: { input: { turn_detection: null } } } },
    ]);
    stage.audio.speak(2);
    expect(stage.framesSent).toBe(0);
  });
});

describe('text', () => {
  it('is said by an item of the conversation and asks for an answer', async () => {
    const stage = await new Stage().live({ microphone: false });
    expect(stage.voice.sendText('Hi')).toBe(true);
    await settle();
    expect(stage.server.sent).toMatchObject([
      {
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] },
      },
      { type: 'response.create' },
    ]);
    expect(stage.voice.snapshot.transcript.items).toMatchObject([
      { role: 'user', text: 'Hi', status: 'completed' },
    ]);
    expect(stage.voice.snapshot.phase).toBe('thinking');
  });

  it('asks nobody for a microphone in a call without one', async () => {
    const stage = new Stage();
    const statuses: string[] = [];
    stage.voice.subscribe(({ status }) => statuses.push(status));
    await stage.live({ microphone: false });
    expect(statuses).not.toContain('asking-microphone');
    expect(stage.audio.asked).toMatchObject([{ microphone: false }]);
    expect(stage.voice.snapshot).toMatchObject({ status: 'live', microphone: false, problem: null });
  });

  it('waits for the call to be live', async () => {
    const stage = new Stage();
    await stage.connect();
    stage.voice.sendText('Hi');
    expect(stage.server.sent).toEqual([]);
    stage.server.deliver({ type: 'session.created' });
    expect(stage.said).toEqual(['session.update', 'conversation.item.create', 'response.create']);
  });

  it('needs a call', () => {
    const stage = new Stage();
    expect(stage.voice.sendText('Hi')).toBe(false);
    expect(stage.voice.snapshot.transcript.items).toEqual([]);
  });

  it('interrupts the assistant first', async () => {
    const stage = (await new Stage().live()).replying();
    stage.voice.sendText('Stop');
    await settle();
    expect(stage.said).toEqual(['conversation.item.truncate', 'response.cancel', 'conversation.item.create']);
    stage.server.deliver(responseDone('r1', 'cancelled'));
    expect(stage.said).toEqual(['response.create']);
  });

  it('is all there is where the page can play nothing', async () => {
    const stage = new Stage();
    stage.audio.opened = { output: false, microphone: false, problem: 'insecure-context' };
    await stage.connect();
    stage.server.deliver({ type: 'session.created' });
    expect(stage.server.sent[0]).toMatchObject({ session: { output_modalities: ['text'] } });
    expect(stage.voice.snapshot).toMatchObject({ status: 'live', problem: { kind: 'insecure-context' } });
  });
});

describe('the microphone', () => {
  it.each(['denied', 'no-device', 'busy'] as const)(
    'may be %s: the call goes on by text',
    async (problem) => {
      const stage = new Stage();
      stage.audio.opened = { output: true, microphone: false, problem };
      await stage.live();
      expect(stage.voice.snapshot).toMatchObject({
        status: 'live',
        microphone: false,
        problem: { kind: problem },
      });
      stage.audio.microphoneAnswer = null;
      await stage.voice.retryMicrophone();
      expect(stage.voice.snapshot).toMatchObject({ microphone: true, problem: null });
    },
  );

  it('may be turned on in a call by text, and then be changed like any other', async () => {
    const stage = new Stage();
    stage.audio.opened = { output: true, microphone: false, problem: null };
    await stage.live({ microphone: false });
    await stage.voice.setInputDevice('desk');
    expect(stage.audio.microphonesAsked).toEqual([]);
    await stage.voice.retryMicrophone();
    await stage.voice.setInputDevice('headset');
    expect(stage.audio.microphonesAsked).toEqual(['desk', 'headset']);
    expect(stage.voice.snapshot.microphone).toBe(true);
  });

  it('may be there before the sound is: the problem goes when the sound starts', async () => {
    const stage = await new Stage().live();
    stage.audio.tell({ kind: 'condition', condition: 'sound-blocked', active: true });
    stage.audio.tell({ kind: 'problem', problem: 'no-output' });
    expect(stage.voice.snapshot).toMatchObject({ problem: { kind: 'no-output' }, hints: ['sound-blocked'] });
    stage.audio.tell({ kind: 'condition', condition: 'sound-blocked', active: false });
    expect(stage.voice.snapshot).toMatchObject({ problem: null, hints: [] });
  });

  it('is muted at its source', async () => {
    const stage = await new Stage().live();
    stage.voice.setMuted(true);
    expect(stage.audio.microphone).toBe('muted');
    stage.voice.setMuted(false);
    expect(stage.audio.microphone).toBe('open');
  });

  it('rests while the assistant speaks, if wanted', async () => {
    const stage = await new Stage().live();
    stage.voice.setHalfDuplex(true);
    stage.replying();
    expect(stage.audio.microphone).toBe('silenced');
    stage.server.deliver(responseDone('r1'));
    stage.audio.tell({ kind: 'idle', item: 'a1', playedMs: 1000 });
    expect(stage.audio.microphone).toBe('open');
  });

  it('that gives nothing for five seconds is reported, but not while it is muted', async () => {
    const stage = await new Stage().live();
    stage.audio.speak(130, -90);
    expect(stage.voice.snapshot.hints).toEqual(['microphone-silent']);
    stage.audio.speak(1, -30);
    stage.voice.setMuted(true);
    stage.audio.speak(130, -100);
    expect(stage.voice.snapshot.hints).toEqual([]);
  });

  it('that hears the assistant calls for headphones', async () => {
    const stage = (await new Stage().live()).replying();
    stage.audio.speak(26, -20);
    expect(stage.voice.snapshot.hints).toEqual(['use-headphones']);
  });

  it('is asked for frames as short as wanted, and their time is counted', async () => {
    const stage = new Stage();
    await stage.connect({ frameMs: 20 });
    expect(stage.audio.asked[0]).toMatchObject({ frameMs: 20 });
    stage.server.deliver({ type: 'session.created' });
    const silent = () => stage.voice.snapshot.hints.includes('microphone-silent');
    const level = { rms: -90, peak: -90 };
    for (let frame = 0; frame < 249; frame += 1)
      stage.audio.tell({ kind: 'frame', samples: new Int16Array(480), level });
    expect(silent()).toBe(false);
    stage.audio.tell({ kind: 'frame', samples: new Int16Array(480), level });
    expect(silent()).toBe(true);
  });

  it('drops frames that a slow line cannot carry, and counts them', async () => {
    const stage = await new Stage().live();
    stage.server.bufferedAmount = 300_000;
    stage.audio.speak(30);
    expect(stage.framesSent).toBe(0);
    expect(stage.voice.snapshot.droppedFrames).toBe(5);
  });
});

describe('a connection that fails', () => {
  it('is tried again after 0.5, 1 and 2 seconds, then given up', async () => {
    const stage = new Stage();
    stage.refusals.push(abnormal, abnormal, abnormal, abnormal);
    await stage.connect();
    expect(stage.voice.snapshot.status).toBe('reconnecting');
    const dialled: number[] = [];
    for (const wait of [499, 1, 999, 1, 1999, 1]) {
      await vi.advanceTimersByTimeAsync(wait);
      dialled.push(stage.transports.length);
    }
    expect(dialled).toEqual([1, 2, 2, 3, 3, 4]);
    expect(stage.voice.snapshot).toMatchObject({
      status: 'failed',
      problem: { kind: 'unreachable', closeCode: 1006 },
    });
    expect(stage.audio.isOpen).toBe(false);
  });

  it('is live again after a second try, and says again what was not answered', async () => {
    const stage = await new Stage().live();
    stage.voice.sendText('Hi');
    await settle();
    stage.server.drop({ code: 1012, reason: 'restart', wasClean: true });
    expect(stage.voice.snapshot.status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(500);
    stage.server.deliver({ type: 'session.created' });
    expect(stage.said).toEqual(['session.update', 'conversation.item.create', 'response.create']);
    expect(stage.voice.snapshot.status).toBe('live');
    expect(stage.voice.snapshot.transcript.items).toHaveLength(1);
  });

  it('is not tried again once there was an answer: that conversation is gone', async () => {
    const stage = (await new Stage().live()).replying();
    stage.server.drop(abnormal);
    await vi.advanceTimersByTimeAsync(5000);
    expect(stage.transports).toHaveLength(1);
    expect(stage.voice.snapshot).toMatchObject({
      status: 'failed',
      problem: { kind: 'lost', closeCode: 1006 },
    });
    expect(stage.voice.snapshot.transcript.items[0]?.status).toBe('interrupted');
  });

  it('tells the words of a refusal', async () => {
    const stage = new Stage();
    await stage.connect();
    stage.server.deliver(serverError('invalid_api_key', 'The key was refused.'));
    stage.server.drop({ code: 3000, reason: 'invalid_request_error.invalid_api_key', wasClean: true });
    expect(stage.voice.snapshot).toMatchObject({
      status: 'failed',
      problem: { kind: 'refused', code: 'invalid_api_key', message: 'The key was refused.', closeCode: 3000 },
    });
    expect(stage.transports).toHaveLength(1);
  });

  it('tells the words of a refusal that comes instead of a connection', async () => {
    const stage = new Stage();
    stage.refusals.push(new ApiFailure(401, 'no_provider_key', 'There is no key.'));
    await stage.connect();
    expect(stage.voice.snapshot).toMatchObject({
      status: 'failed',
      problem: { kind: 'refused', code: 'no_provider_key', message: 'There is no key.' },
    });
  });

  it('is unreachable where nothing answers', async () => {
    const stage = new Stage();
    const absent = ApiFailure.unreachable();
    stage.refusals.push(absent, absent, absent, new ApiFailure(502));
    await stage.connect();
    expect(stage.voice.snapshot.status).toBe('reconnecting');
    await vi.advanceTimersByTimeAsync(5000);
    expect(stage.transports).toHaveLength(4);
    expect(stage.voice.snapshot).toMatchObject({
      status: 'failed',
      problem: { kind: 'unreachable', message: 'The gateway answered 502.' },
    });
  });

  it('is live once the gateway is back', async () => {
    const stage = new Stage();
    stage.refusals.push(ApiFailure.unreachable());
    await stage.connect();
    await vi.advanceTimersByTimeAsync(500);
    stage.server.deliver({ type: 'session.created' });
    expect(stage.voice.snapshot.status).toBe('live');
  });

  it('tells an end by the other side from a broken line', async () => {
    const stage = await new Stage().live();
    stage.server.drop({ code: 1001, reason: 'session hit the maximum duration', wasClean: true });
    expect(stage.voice.snapshot).toMatchObject({
      status: 'failed',
      problem: { kind: 'closed', closeCode: 1001, message: 'session hit the maximum duration' },
    });
  });

  it('does not take an old error for the reason of a later close', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(serverError('invalid_value'));
    stage.server.deliver(speechStarted);
    stage.server.drop({ code: 1011, reason: '', wasClean: true });
    expect(stage.voice.snapshot.problem).toMatchObject({ kind: 'closed', closeCode: 1011 });
  });

  it('is given up when no session comes within a minute', async () => {
    const stage = new Stage();
    await stage.connect();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(stage.voice.snapshot).toMatchObject({ status: 'failed', problem: { kind: 'unreachable' } });
    expect(stage.server.closedBy).not.toBeNull();
  });

  it('can be ended while it waits to try again', async () => {
    const stage = new Stage();
    stage.refusals.push(abnormal);
    await stage.connect();
    await stage.voice.disconnect();
    await vi.advanceTimersByTimeAsync(5000);
    expect(stage.transports).toHaveLength(1);
    expect(stage.voice.snapshot.status).toBe('idle');
  });

  it('leaves the way free for a new call', async () => {
    const stage = (await new Stage().live()).replying();
    stage.server.drop(abnormal);
    await stage.live();
    expect(stage.voice.snapshot).toMatchObject({ status: 'live', problem: null, transcript: { items: [] } });
  });
});

describe('an error during a call', () => {
  it('is shown and forgotten with the next answer', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(serverError('invalid_value', 'No such voice.'));
    expect(stage.voice.snapshot).toMatchObject({
      status: 'live',
      problem: { kind: 'refused', code: 'invalid_value', message: 'No such voice.' },
    });
    stage.server.deliver(responseCreated('r1'));
    expect(stage.voice.snapshot.problem).toBeNull();
  });

  it('is passed over when it only says that somebody was quicker', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(serverError('response_cancel_not_active'));
    expect(stage.voice.snapshot.problem).toBeNull();
  });

  it('of a failed response is shown with its words', async () => {
    const stage = await new Stage().live();
    stage.server.deliver(responseCreated('r1'));
    const error = { type: 'x', code: 'insufficient_quota', message: 'No credit.' };
    const response = { id: 'r1', status: 'failed', status_details: { error } };
    stage.server.deliver({ type: 'response.done', response });
    expect(stage.voice.snapshot).toMatchObject({
      phase: 'listening',
      problem: { kind: 'refused', code: 'insufficient_quota', message: 'No credit.' },
    });
  });
});

describe('the event log of a call', () => {
  it('has a line for gaps in playback, however many', async () => {
    const stage = (await new Stage().live()).replying();
    for (const targetMs of [180, 270]) stage.audio.tell({ kind: 'underrun', item: 'a1', targetMs });
    expect(stage.voice.snapshot.events.entries.at(-1)).toMatchObject({
      type: 'playback.underrun',
      count: 2,
      event: { target_ms: 270 },
    });
  });

  it('has both directions and no audio', async () => {
    const stage = await new Stage().live();
    stage.audio.speak(2);
    stage.server.deliver(audioDelta('r1', 'a1', 200));
    const log = stage.voice.snapshot.events.entries.map(
      ({ direction, type, count }) => `${direction} ${type} ${count}`,
    );
    expect(log).toEqual([
      'in session.created 1',
      'out session.update 1',
      'in session.updated 1',
      'out input_audio_buffer.append 2',
      'in response.output_audio.delta 1',
    ]);
    expect(stage.voice.exportEvents()).not.toMatch(/A{100}/);
  });

  it('can be kept as sound of both sides, only when that was asked for', async () => {
    const stage = await new Stage().live();
    stage.audio.speak(1);
    expect(stage.voice.exportRecording('user')).toBeNull();
    stage.voice.setRecording(true);
    stage.audio.speak(1);
    stage.server.deliver(audioDelta('r1', 'a1', 200));
    expect(stage.voice.snapshot.recorded).toEqual({ user: true, assistant: true });
    expect(stage.voice.exportRecording('user')?.length).toBe(44 + 1920);
    expect(stage.voice.exportRecording('assistant')?.length).toBe(44 + 9600);
  });
});
