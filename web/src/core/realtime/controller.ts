/** One voice call: the microphone, the connection and the speaker, and what the page shows of them. */

import { ApiFailure } from '../api/console';
import { decodeBase64, encodeBase64, SILENCE_DBFS, WIRE_RATE, type Level } from '../audio/pcm';
import type { Flushed, PlaybackState } from '../audio/playback-queue';
import type { AudioCondition, AudioDevices, AudioEvent, AudioPort, MicrophoneState } from '../audio/port';
import { parseJson } from '../narrow';
import { Call, phaseOf, type TypedText } from './call';
import { EventLog, type LogFilter } from './event-log';
import {
  readServerEvent,
  type ClientEvent,
  type ErrorBody,
  type ServerEvent,
  type ServerVad,
  type SessionSettings,
} from './events';
import { LatencyMeter } from './latency';
import { Recording, type RecordedSide } from './recording';
import { EMPTY_TRANSCRIPT, fold, type LocalEvent } from './reducer';
import { truncationsOf, type Cut } from './replies';
import { TransportFailure, type RealtimeTransport, type TransportClose } from './transport';
import type {
  Hint,
  VoiceLevels,
  VoiceMode,
  VoiceOptions,
  VoiceProblem,
  VoiceSnapshot,
  VoiceStatus,
} from './voice';

export type { AudioPort } from '../audio/port';
export type * from './voice';

export interface VoiceParts {
  /** Makes a transport for each attempt. */
  readonly transport: () => RealtimeTransport;
  readonly audio: AudioPort;
  /** Milliseconds; `performance.now` when absent. */
  readonly now?: () => number;
}

const RETRY_DELAYS_MS = [500, 1000, 2000];
const RETRIED_CLOSE_CODES = [1006, 1012, 1013];
const SESSION_TIMEOUT_MS = 60_000;
const SHORTEST_PRESS_MS = 150;
const SHORTEST_COMMIT_MS = 100;
/** Depth and running counters are shown this often; speech itself is shown at once. */
const SLOW_CHANGE_MS = 250;

/** Errors that only say that somebody was quicker. */
const HARMLESS_ERRORS: ReadonlySet<string> = new Set([
  'response_cancel_not_active',
  'conversation_already_has_active_response',
  'input_audio_buffer_commit_empty',
]);

const SERVER_VAD: ServerVad = {
  type: 'server_vad',
  threshold: 0.5,
  prefix_padding_ms: 300,
  silence_duration_ms: 500,
  create_response: true,
  interrupt_response: true,
};

export class VoiceController {
  readonly #makeTransport: () => RealtimeTransport;
  readonly #audio: AudioPort;
  readonly #now: () => number;
  readonly #listeners = new Set<(snapshot: VoiceSnapshot) => void>();
  readonly #levelListeners = new Set<(levels: VoiceLevels) => void>();

  readonly #log: EventLog;
  readonly #latency = new LatencyMeter();
  #call: Call | null = null;
  #status: VoiceStatus = 'idle';
  #problem: VoiceProblem | null = null;
  #transcript = EMPTY_TRANSCRIPT;
  #mode: VoiceMode = 'vad';
  #muted = false;
  #halfDuplex = false;
  #recording: Recording | null = null;
  #recordingOn = false;
  #microphoneState: MicrophoneState = 'open';
  #conditions = new Set<AudioCondition>();
  #devices: AudioDevices | null = null;
  #levels: VoiceLevels = { input: SILENCE_DBFS, output: SILENCE_DBFS };
  #playback: PlaybackState | null = null;
  #lastInterruption: VoiceSnapshot['lastInterruption'] = null;
  #snapshot: VoiceSnapshot | null = null;
  #notifiedAt = 0;

  constructor({ transport, audio, now = () => performance.now() }: VoiceParts) {
    this.#makeTransport = transport;
    this.#audio = audio;
    this.#now = now;
    this.#log = new EventLog(now());
    audio.listen((event) => this.#heardFromAudio(event));
  }

  // --- what the page does -------------------------------------------------------------------------------------------

  /** Begin a call. Call it within the user's click: sound that is opened later stays silent. Never rejects. */
  async connect(options: VoiceOptions): Promise<void> {
    if (this.#status !== 'idle' && this.#status !== 'failed') return;
    const opening = this.#audio.open({
      microphone: options.microphone,
      inputDeviceId: options.inputDeviceId,
      outputDeviceId: options.outputDeviceId,
      frameMs: options.frameMs,
    });
    const call = this.#begin(options);
    const opened = await opening;
    if (call !== this.#call) return;
    call.opened = opened;
    if (opened.problem) this.#problem = { kind: opened.problem };
    this.#applyMicrophone();
    await this.#dial(call, 'connecting');
  }

  /** End the call, at whatever point it is. */
  async disconnect(): Promise<void> {
    if (this.#status === 'idle' || this.#status === 'closing') return;
    const call = this.#call;
    this.#call = null;
    this.#status = 'closing';
    this.#fold({ type: 'local.disconnected' });
    this.#changed();
    call?.stop();
    await this.#audio.close();
    if (this.#call) return; // a new call has begun meanwhile
    this.#status = 'idle';
    this.#problem = null;
    this.#resetMeters();
    this.#changed();
  }

  /** Say something by text. Before the call is live it waits; without a call nothing is sent and false returned. */
  sendText(text: string): boolean {
    const call = this.#call;
    if (!call || text.trim() === '') return false;
    const itemId = newItemId();
    this.#fold({ type: 'local.text_sent', itemId, text });
    this.#latency.turnDropped();
    if (!call.replied) call.unanswered.push({ itemId, text });
    if (this.#status === 'live') {
      call.awaitingReply = true;
      void this.#interrupt(call, 'local').then(() => this.#say(call, [{ itemId, text }]));
    }
    this.#changed();
    return true;
  }

  /** The talk button goes down (push-to-talk). */
  startTalking(): void {
    const call = this.#call;
    if (!call || this.#status !== 'live' || this.#mode !== 'push-to-talk' || call.press) return;
    void this.#interrupt(call, 'local');
    call.outbox.clear();
    this.#send(call, { type: 'input_audio_buffer.clear' });
    call.press = { at: this.#now(), sentMs: 0 };
    call.pressedTooShortly = false;
    this.#changed();
  }

  /** The talk button goes up: ask for an answer, unless it was held for less than 150 ms. */
  stopTalking(): void {
    const call = this.#call;
    const press = call?.press;
    if (!call || !press) return;
    call.press = null;
    call.cutShort = false;
    if (this.#now() - press.at < SHORTEST_PRESS_MS || press.sentMs < SHORTEST_COMMIT_MS) {
      call.outbox.clear();
      this.#send(call, { type: 'input_audio_buffer.clear' });
      call.pressedTooShortly = true;
    } else {
      call.outbox.flush();
      this.#send(call, { type: 'input_audio_buffer.commit' });
      this.#latency.speechEnded(this.#now());
      call.awaitingReply = true;
      this.#askForResponse(call);
    }
    this.#changed();
  }

  setMode(mode: VoiceMode): void {
    if (mode === this.#mode) return;
    this.stopTalking();
    this.#mode = mode;
    const call = this.#call;
    if (call && this.#status === 'live') {
      const input = { turn_detection: turnDetection(mode) };
      this.#updateSession(call, { type: 'realtime', audio: { input } });
    }
    this.#changed();
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    this.#applyMicrophone();
    this.#changed();
  }

  /** Whether the microphone rests while the assistant speaks: for rooms where it hears itself. */
  setHalfDuplex(halfDuplex: boolean): void {
    this.#halfDuplex = halfDuplex;
    this.#applyMicrophone();
    this.#changed();
  }

  /** Change the microphone; during a call at once. */
  async setInputDevice(deviceId: string): Promise<void> {
    const call = this.#call;
    if (!call) return;
    call.options = { ...call.options, inputDeviceId: deviceId };
    if (call.options.microphone) await this.retryMicrophone();
  }

  /** Ask for the microphone once more, or for the first time in a call by text. Within the user's click. */
  async retryMicrophone(): Promise<void> {
    const call = this.#call;
    if (!call?.opened) return;
    call.options = { ...call.options, microphone: true };
    const problem = await this.#audio.openMicrophone(call.options.inputDeviceId);
    if (call !== this.#call) return;
    call.opened = { ...call.opened, microphone: problem === null };
    this.#problem = problem ? { kind: problem } : null;
    this.#changed();
  }

  async setOutputDevice(deviceId: string): Promise<void> {
    await this.#audio.setOutputDevice(deviceId);
  }

  /** After the hint `sound-blocked`, within the user's click. */
  async resumeSound(): Promise<void> {
    await this.#audio.resume();
  }

  /** Stop the assistant. */
  interrupt(): void {
    const call = this.#call;
    if (!call || this.#status !== 'live') return;
    void this.#interrupt(call, 'local');
    this.#changed();
  }

  setEventFilter(filter: LogFilter): void {
    this.#log.setFilter(filter);
    this.#changed();
  }

  setEventsPaused(paused: boolean): void {
    this.#log.setPaused(paused);
    this.#changed();
  }

  clearEvents(): void {
    this.#log.clear(this.#now());
    this.#changed();
  }

  exportEvents(): string {
    return this.#log.exportJsonl();
  }

  /** Keep both sides' audio in memory, for `exportRecording`. Off unless asked for; switching it on starts anew. */
  setRecording(on: boolean): void {
    if (on && !this.#recordingOn) this.#recording = new Recording();
    this.#recordingOn = on;
    this.#changed();
  }

  exportRecording(side: RecordedSide): Uint8Array<ArrayBuffer> | null {
    return this.#recording?.wav(side) ?? null;
  }

  // --- what the page sees -------------------------------------------------------------------------------------------

  get snapshot(): VoiceSnapshot {
    this.#snapshot ??= this.#takeSnapshot();
    return this.#snapshot;
  }

  /** Be told of each change. Returns how to stop that. */
  subscribe(listener: (snapshot: VoiceSnapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Be told of the levels, 25 times a second. */
  onLevels(listener: (levels: VoiceLevels) => void): () => void {
    this.#levelListeners.add(listener);
    return () => this.#levelListeners.delete(listener);
  }

  #takeSnapshot(): VoiceSnapshot {
    const call = this.#call;
    return {
      status: this.#status,
      phase: call && this.#status === 'live' ? phaseOf(call) : null,
      problem: this.#problem,
      transcript: this.#transcript,
      levels: this.#levels,
      latency: this.#latency.summary,
      events: this.#log.view,
      connectedAt: call?.connectedAt ?? null,
      microphone: call?.opened?.microphone ?? false,
      muted: this.#muted,
      halfDuplex: this.#halfDuplex,
      mode: this.#mode,
      talking: Boolean(call?.press),
      recording: this.#recordingOn,
      recorded: {
        user: this.#recording?.has('user') ?? false,
        assistant: this.#recording?.has('assistant') ?? false,
      },
      buffered: {
        depthMs: this.#playback?.depthMs ?? 0,
        targetMs: this.#playback?.targetMs ?? 0,
        underruns: this.#playback?.underruns ?? 0,
      },
      droppedFrames: call?.outbox.dropped ?? 0,
      lastInterruption: this.#lastInterruption,
      hints: this.#hints(call),
      devices: this.#devices,
    };
  }

  #hints(call: Call | null): Hint[] {
    const hints: Hint[] = [...this.#conditions];
    if (call?.watch.isSilent) hints.push('microphone-silent');
    if (call?.watch.hearsItself && !this.#halfDuplex) hints.push('use-headphones');
    if (call?.pressedTooShortly) hints.push('press-longer');
    return hints;
  }

  #changed(): void {
    this.#snapshot = null;
    this.#notifiedAt = this.#now();
    if (this.#listeners.size === 0) return;
    const { snapshot } = this;
    for (const listener of this.#listeners) listener(snapshot);
  }

  #changedSlowly(): void {
    this.#snapshot = null;
    if (this.#now() - this.#notifiedAt >= SLOW_CHANGE_MS) this.#changed();
  }

  #showLevels(levels: Partial<VoiceLevels>): void {
    this.#levels = { ...this.#levels, ...levels };
    for (const listener of this.#levelListeners) listener(this.#levels);
  }

  // --- the connection -----------------------------------------------------------------------------------------------

  #begin(options: VoiceOptions): Call {
    const call: Call = new Call(options, (audio) => {
      this.#send(call, { type: 'input_audio_buffer.append', audio });
    });
    this.#call = call;
    this.#mode = options.mode;
    this.#status = options.microphone ? 'asking-microphone' : 'connecting';
    this.#problem = null;
    this.#transcript = EMPTY_TRANSCRIPT;
    this.#lastInterruption = null;
    this.#resetMeters();
    this.#log.clear(this.#now());
    this.#latency.clicked(this.#now());
    if (this.#recordingOn) this.#recording = new Recording();
    this.#changed();
    return call;
  }

  async #dial(call: Call, status: 'connecting' | 'reconnecting'): Promise<void> {
    this.#status = status;
    this.#changed();
    const transport = this.#makeTransport();
    call.attach(transport);
    transport.onEvent = (text) => this.#received(call, transport, text);
    transport.onClose = (close) => this.#closed(call, transport, close);
    call.after(SESSION_TIMEOUT_MS, () => this.#gaveUpWaiting(call, transport));
    try {
      await transport.open();
    } catch (error) {
      if (call !== this.#call) return;
      if (error instanceof TransportFailure) this.#disconnected(call, error.close);
      else this.#ended(call, problemOfError(error), error instanceof ApiFailure && error.isAbsence);
    }
  }

  #received(call: Call, transport: RealtimeTransport, text: string): void {
    if (call !== this.#call || call.transport !== transport) return;
    const value = parseJson(text);
    this.#log.add('in', value, this.#now());
    const event = readServerEvent(value);
    this.#fold(event);
    if (event.type !== 'error') call.lastError = null;
    this.#act(call, event);
    this.#applyMicrophone();
    this.#changed();
  }

  #closed(call: Call, transport: RealtimeTransport, close: TransportClose): void {
    if (call !== this.#call || call.transport !== transport) return;
    this.#log.add('local', { type: 'connection.closed', ...close }, this.#now());
    this.#disconnected(call, close);
  }

  #gaveUpWaiting(call: Call, transport: RealtimeTransport): void {
    if (call !== this.#call || call.transport !== transport) return;
    call.detach();
    transport.close();
    this.#fail(call, { kind: 'unreachable', message: 'The session was not opened in time.' });
  }

  #disconnected(call: Call, close: TransportClose): void {
    const problem = problemOfClose(close, call.lastError, call.connectedAt !== null);
    this.#ended(call, problem, RETRIED_CLOSE_CODES.includes(close.code));
  }

  /** Before the first reply nothing is lost by trying again; later the conversation is gone with its session. */
  #ended(call: Call, problem: VoiceProblem, mayPass: boolean): void {
    const delay = RETRY_DELAYS_MS[call.retries];
    if (!mayPass || call.replied || delay === undefined) {
      this.#fail(call, problem);
      return;
    }
    call.detach();
    call.retries += 1;
    call.restart();
    void this.#audio.flush();
    this.#status = 'reconnecting';
    call.after(delay, () => void this.#dial(call, 'reconnecting'));
    this.#changed();
  }

  #fail(call: Call, problem: VoiceProblem): void {
    call.stop();
    this.#call = null;
    this.#status = 'failed';
    this.#problem = problem;
    this.#fold({ type: 'local.disconnected' });
    this.#resetMeters();
    this.#changed();
    void this.#audio.close();
  }

  #resetMeters(): void {
    this.#conditions.clear();
    this.#playback = null;
    this.#latency.buffered(0);
    this.#showLevels({ input: SILENCE_DBFS, output: SILENCE_DBFS });
  }

  #send(call: Call, event: ClientEvent): void {
    if (call !== this.#call) return;
    call.transport?.send(event);
    this.#log.add('out', event, this.#now());
  }

  // --- what the server says -----------------------------------------------------------------------------------------

  #act(call: Call, event: ServerEvent): void {
    switch (event.type) {
      case 'session.created':
        this.#goLive(call);
        break;
      case 'session.updated':
        this.#latency.updateAnswered(this.#now());
        call.serverInterrupts = event.turnDetection?.interruptsResponse ?? false;
        break;
      case 'error':
        this.#refused(call, event.error);
        break;
      case 'input_audio_buffer.speech_started':
        call.userSpeaking = true;
        call.cutShort = call.isSounding;
        void this.#interrupt(call, 'speech');
        break;
      case 'input_audio_buffer.speech_stopped':
        call.userSpeaking = false;
        call.cutShort = false;
        call.awaitingReply = true;
        this.#latency.speechEnded(this.#now());
        break;
      case 'conversation.item.input_audio_transcription.completed':
        // A noise is not answered.
        if (event.transcript.trim() === '') call.awaitingReply = false;
        break;
      case 'response.created':
        if (event.outOfBand) break;
        call.replies.responseCreated(event.responseId);
        call.awaitingReply = false;
        if (this.#problem?.kind === 'refused') this.#problem = null;
        break;
      case 'response.output_audio.delta':
        this.#play(call, event);
        break;
      case 'response.output_audio.done':
        this.#finishItem(call, event.itemId);
        break;
      case 'response.output_item.done':
        this.#finishItem(call, event.item.id);
        break;
      case 'response.output_text.delta':
        call.markReplied();
        break;
      case 'response.done':
        this.#responseDone(call, event);
        break;
      case 'input_audio_buffer.committed':
      case 'input_audio_buffer.cleared':
      case 'conversation.item.added':
      case 'conversation.item.done':
      case 'conversation.item.deleted':
      case 'conversation.item.truncated':
      case 'conversation.item.input_audio_transcription.delta':
      case 'conversation.item.input_audio_transcription.failed':
      case 'response.output_item.added':
      case 'response.output_audio_transcript.delta':
      case 'response.output_audio_transcript.done':
      case 'response.output_text.done':
      case 'response.function_call_arguments.delta':
      case 'other':
        break; // the transcript has taken them
    }
  }

  #goLive(call: Call): void {
    const now = this.#now();
    call.cancelTimer();
    this.#status = 'live';
    call.connectedAt ??= now;
    call.serverInterrupts = this.#mode === 'vad';
    this.#latency.sessionCreated(now);
    this.#updateSession(call, sessionSettings(call.options, this.#mode, call.opened?.output ?? false));
    if (call.unanswered.length > 0) {
      call.awaitingReply = true;
      this.#say(call, call.unanswered);
    }
  }

  #updateSession(call: Call, session: SessionSettings): void {
    this.#latency.updateSent(this.#now());
    this.#send(call, { type: 'session.update', session });
  }

  #refused(call: Call, error: ErrorBody): void {
    call.lastError = error;
    if (HARMLESS_ERRORS.has(error.code)) return;
    call.awaitingReply = false;
    this.#problem = { kind: 'refused', code: error.code, message: error.message };
  }

  #play(call: Call, event: ServerEvent & { type: 'response.output_audio.delta' }): void {
    const samples = decoded(event.audio);
    if (!samples || !call.replies.accept(event)) return;
    this.#latency.firstByte(this.#now());
    call.markReplied();
    call.isSounding = true;
    if (this.#recordingOn) this.#recording?.add('assistant', samples);
    this.#audio.play(event.itemId, samples);
  }

  #finishItem(call: Call, itemId: string): void {
    call.replies.complete(itemId);
    this.#audio.finish(itemId);
  }

  #responseDone(call: Call, { responseId, status, error }: ServerEvent & { type: 'response.done' }): void {
    const wasActive = call.replies.active === responseId;
    call.replies.responseDone(responseId);
    if (!wasActive) return;
    if (!call.userSpeaking && !call.press) call.cutShort = false;
    if (status === 'failed') {
      this.#problem = { kind: 'refused', code: error?.code ?? '', message: error?.message ?? '' };
    }
    if (call.responseWanted) this.#askForResponse(call);
  }

  // --- turns --------------------------------------------------------------------------------------------------------

  #say(call: Call, texts: readonly TypedText[]): void {
    if (call !== this.#call || this.#status !== 'live') return; // it waits among the unanswered
    for (const { itemId, text } of texts) {
      this.#send(call, {
        type: 'conversation.item.create',
        item: { id: itemId, type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
      });
    }
    this.#askForResponse(call);
    this.#changed();
  }

  /** A server makes one response at a time and refuses a second one. */
  #askForResponse(call: Call): void {
    call.responseWanted = call.replies.active !== null;
    if (!call.responseWanted) this.#send(call, { type: 'response.create' });
  }

  /**
   * Silence the assistant, then tell the server how much of it was heard. A response that is still being made is
   * cancelled, unless the server has noticed the user's speech and does that itself.
   */
  async #interrupt(call: Call, by: 'speech' | 'local'): Promise<void> {
    if (!call.replies.isUnderWay) return;
    const noticedAt = this.#now();
    const wasSounding = call.isSounding;
    const cut = call.replies.cut();
    call.cutShort = wasSounding;
    call.isSounding = false;
    call.isHeard = false;
    this.#applyMicrophone();
    const report = await this.#audio.flush();
    if (call !== this.#call) return;
    if (wasSounding) this.#latency.silencedAfter(this.#now() - noticedAt + report.silentInMs);
    this.#truncate(call, cut, report);
    const serverCancels = by === 'speech' && call.serverInterrupts;
    if (cut.responseId !== null && cut.responseId === call.replies.active && !serverCancels) {
      this.#send(call, { type: 'response.cancel' });
    }
    if (call.replies.active === null && !call.userSpeaking && !call.press) call.cutShort = false;
    this.#changed();
  }

  #truncate(call: Call, cut: Cut, flushed: Flushed): void {
    for (const { itemId, contentIndex, audioEndMs } of truncationsOf(cut, flushed)) {
      this.#send(call, {
        type: 'conversation.item.truncate',
        item_id: itemId,
        content_index: contentIndex,
        audio_end_ms: audioEndMs,
      });
      this.#fold({ type: 'local.interrupted', itemId, atMs: audioEndMs });
      this.#lastInterruption = { itemId, atMs: audioEndMs };
    }
  }

  #fold(event: ServerEvent | LocalEvent): void {
    this.#transcript = fold(this.#transcript, event);
  }

  // --- sound --------------------------------------------------------------------------------------------------------

  #heardFromAudio(event: AudioEvent): void {
    switch (event.kind) {
      case 'frame':
        this.#frame(event.samples, event.level);
        break;
      case 'started':
        this.#started(event.item, event.outputLatencyMs);
        break;
      case 'idle':
        this.#finishedPlaying(event.item);
        break;
      case 'underrun':
        this.#log.add(
          'local',
          { type: 'playback.underrun', item_id: event.item, target_ms: event.targetMs },
          this.#now(),
        );
        this.#changedSlowly();
        break;
      case 'rebuilding':
        if (this.#call) void this.#interrupt(this.#call, 'local');
        break;
      case 'state':
        this.#playback = event.state;
        this.#latency.buffered(event.state.depthMs);
        this.#showLevels({ output: event.level.rms });
        this.#changedSlowly();
        break;
      case 'condition':
        this.#conditionChanged(event.condition, event.active);
        break;
      case 'problem':
        this.#problem = { kind: event.problem };
        this.#changed();
        break;
      case 'devices':
        this.#devices = event.devices;
        this.#changed();
        break;
    }
  }

  #conditionChanged(condition: AudioCondition, active: boolean): void {
    if (active) this.#conditions.add(condition);
    else this.#conditions.delete(condition);
    // The sound has started after all.
    if (condition === 'sound-blocked' && !active && this.#problem?.kind === 'no-output') this.#problem = null;
    this.#changed();
  }

  #frame(samples: Int16Array<ArrayBuffer>, level: Level): void {
    this.#showLevels({ input: level.rms });
    const call = this.#call;
    if (!call || this.#status !== 'live') return;
    if (this.#mode === 'push-to-talk' && !call.press) {
      call.watch.rest();
      return;
    }
    const durationMs = (samples.length / WIRE_RATE) * 1000;
    this.#watch(call, level, durationMs);
    if (call.press) call.press.sentMs += durationMs;
    if (this.#recordingOn) this.#recording?.add('user', samples);
    call.outbox.push(encodeBase64(samples));
    this.#latency.frameSent(this.#now(), level.rms);
    this.#changedSlowly();
  }

  #watch(call: Call, level: Level, durationMs: number): void {
    if (this.#microphoneState === 'open') {
      const speaking = { assistant: call.isHeard, user: call.userSpeaking || Boolean(call.press) };
      call.watch.frame(level.rms, durationMs, speaking);
    } else {
      call.watch.rest();
    }
  }

  #started(item: string, outputLatencyMs: number): void {
    const call = this.#call;
    if (!call?.isSounding) return; // it was cut off between there and here
    call.replies.started(item);
    call.isHeard = true;
    this.#latency.firstSound(this.#now() + outputLatencyMs);
    this.#changed();
  }

  #finishedPlaying(item: string): void {
    const call = this.#call;
    if (!call) return;
    call.replies.played(item);
    call.isSounding = false;
    call.isHeard = false;
    this.#applyMicrophone();
    this.#changed();
  }

  #applyMicrophone(): void {
    const silenced = this.#halfDuplex && Boolean(this.#call?.isSounding);
    const wanted = this.#muted ? 'muted' : silenced ? 'silenced' : 'open';
    if (wanted === this.#microphoneState) return;
    this.#microphoneState = wanted;
    this.#audio.setMicrophone(wanted);
  }
}

function sessionSettings(options: VoiceOptions, mode: VoiceMode, canPlay: boolean): SessionSettings {
  const format = { type: 'audio/pcm', rate: 24000 } as const;
  return {
    type: 'realtime',
    output_modalities: canPlay ? ['audio'] : ['text'],
    ...(options.instructions?.trim() ? { instructions: options.instructions } : {}),
    audio: {
      input: {
        format,
        transcription: { model: options.transcriptionModel ?? 'whisper-1' },
        turn_detection: turnDetection(mode),
      },
      output: { format, voice: options.voice },
    },
  };
}

function turnDetection(mode: VoiceMode): ServerVad | null {
  return mode === 'vad' ? SERVER_VAD : null;
}

function problemOfClose(
  close: TransportClose,
  lastError: ErrorBody | null,
  wasConnected: boolean,
): VoiceProblem {
  const { code: closeCode, reason } = close;
  if (lastError) return { kind: 'refused', code: lastError.code, message: lastError.message, closeCode };
  const kind = !RETRIED_CLOSE_CODES.includes(closeCode) ? 'closed' : wasConnected ? 'lost' : 'unreachable';
  return { kind, closeCode, ...(reason ? { message: reason } : {}) };
}

function problemOfError(error: unknown): VoiceProblem {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ApiFailure && !error.isAbsence) return { kind: 'refused', code: error.code, message };
  return { kind: 'unreachable', message };
}

/** A frame that is no audio is as good as none. */
function decoded(audio: string): Int16Array<ArrayBuffer> | null {
  try {
    const samples = decodeBase64(audio);
    return samples.length > 0 ? samples : null;
  } catch {
    return null;
  }
}

/** `crypto.randomUUID` exists in secure contexts only, and text works without one. */
function newItemId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return `item_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
