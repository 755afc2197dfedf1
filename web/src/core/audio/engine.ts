/** The browser's sound: one AudioContext at the device's own rate, two worklets, the microphone. */

import captureUrl from './capture.worklet.ts?worker&url';
import playbackUrl from './playback.worklet.ts?worker&url';
import { USUAL_FRAME_MS, type FrameMs } from './framing';
import { RAMP_MS } from './playback-queue';
import type {
  AudioCondition,
  AudioDevice,
  AudioDevices,
  AudioEvent,
  AudioOpened,
  AudioOptions,
  AudioPort,
  FlushReport,
  MicrophoneProblem,
  MicrophoneState,
} from './port';
import {
  CAPTURE_PROCESSOR,
  PLAYBACK_PROCESSOR,
  type CaptureOptions,
  type FromCapture,
  type FromPlayback,
  type ToCapture,
  type ToPlayback,
} from './worklet-messages';

export type { AudioDevice, AudioDevices, MicrophoneProblem } from './port';

const BLOCKED_AFTER_MS = 300;
const NO_OUTPUT_AFTER_MS = 2000;
const NARROW_BAND_RATE = 16_000;
/** A headset that comes or goes is several changes in a row. */
const SETTLED_AFTER_MS = 200;
const NOTHING_FLUSHED: FlushReport = { item: null, playedMs: 0, droppedMs: 0, silentInMs: 0 };

/** One use: `open`, then `close`; it may be opened again afterwards. */
export class AudioEngine implements AudioPort {
  #running: Running | null = null;
  readonly #listeners = new Set<(event: AudioEvent) => void>();

  listen(listener: (event: AudioEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async open(options: AudioOptions): Promise<AudioOpened> {
    void this.close();
    const problem = audioProblem();
    if (problem) return { output: false, microphone: false, problem };
    // Nothing was awaited since the click: a context made later would stay silent.
    const running = new Running(new AudioContext({ latencyHint: 'interactive' }), (event) =>
      this.#emit(event),
    );
    this.#running = running;
    return running.start(options);
  }

  async close(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    await running?.stop();
  }

  async openMicrophone(deviceId?: string): Promise<MicrophoneProblem | null> {
    return this.#running ? this.#running.openMicrophone(deviceId) : (audioProblem() ?? 'no-output');
  }

  setMicrophone(state: MicrophoneState): void {
    this.#running?.setMicrophone(state);
  }

  async setOutputDevice(deviceId: string): Promise<void> {
    await this.#running?.setOutputDevice(deviceId);
  }

  async resume(): Promise<void> {
    await this.#running?.resume();
  }

  play(item: string, samples: Int16Array<ArrayBuffer>): void {
    this.#running?.play(item, samples);
  }

  finish(item: string): void {
    this.#running?.finish(item);
  }

  async flush(): Promise<FlushReport> {
    return (await this.#running?.flush()) ?? NOTHING_FLUSHED;
  }

  #emit(event: AudioEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** Return the devices there are. Their names are empty until the microphone was allowed once. */
export async function audioDevices(): Promise<AudioDevices> {
  const found = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  return {
    inputs: found.filter(({ kind }) => kind === 'audioinput').map(asDevice),
    outputs: found.filter(({ kind }) => kind === 'audiooutput').map(asDevice),
    outputSelectable: 'AudioContext' in globalThis && 'setSinkId' in AudioContext.prototype,
  };
}

/** Return what keeps this page from using sound at all, before anybody is asked for anything. */
export function audioProblem(): MicrophoneProblem | null {
  if (!globalThis.isSecureContext) return 'insecure-context';
  if (!('AudioContext' in globalThis) || !('AudioWorkletNode' in globalThis)) return 'unsupported';
  return null;
}

/** One AudioContext and what hangs on it, from the click on Connect to the end of the session. */
class Running {
  readonly #context: AudioContext;
  readonly #emit: (event: AudioEvent) => void;
  readonly #flushes = new Map<number, (report: FlushReport) => void>();
  readonly #ending = new AbortController();
  #playback: AudioWorkletNode | null = null;
  #capture: AudioWorkletNode | null = null;
  #source: MediaStreamAudioSourceNode | null = null;
  #stream: MediaStream | null = null;
  #microphone: MicrophoneState = 'open';
  #wantedInput: string | undefined;
  #frameMs: FrameMs = USUAL_FRAME_MS;
  #playbackRate = 0;
  #hasRun = false;
  #settling: ReturnType<typeof setTimeout> | undefined;
  readonly #conditions = new Set<AudioCondition>();
  #lastFlush = 0;
  #wakeLock: WakeLockSentinel | null = null;

  constructor(context: AudioContext, emit: (event: AudioEvent) => void) {
    this.#context = context;
    this.#emit = (event) => {
      if (!this.#ending.signal.aborted) emit(event);
    };
    // Without a sound device some browsers never settle this; `#watchStart` notices.
    context.resume().catch(() => undefined);
    this.#watchStart();
    this.#observePage();
  }

  async start(options: AudioOptions): Promise<AudioOpened> {
    // The microphone first: on iOS it changes how the speaker is driven, which would break a reply in two.
    const asked = options.microphone ? askForMicrophone(options.inputDeviceId) : null;
    this.#frameMs = options.frameMs ?? USUAL_FRAME_MS;
    let output = true;
    try {
      await Promise.all([
        this.#context.audioWorklet.addModule(captureUrl),
        this.#context.audioWorklet.addModule(playbackUrl),
      ]);
      this.#startPlayback();
    } catch {
      output = false;
    }
    this.#wantedInput = options.inputDeviceId;
    const problem = output ? await this.#use(await asked) : 'unsupported';
    if (!output) stopTracks((await asked)?.stream);
    if (output && options.outputDeviceId) await this.setOutputDevice(options.outputDeviceId);
    await Promise.all([this.#announceDevices(), this.#keepAwake()]);
    return { output, microphone: this.#stream !== null, problem };
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#settling);
    this.#closeMicrophone();
    for (const settle of this.#flushes.values()) settle(NOTHING_FLUSHED);
    this.#flushes.clear();
    await this.#wakeLock?.release().catch(() => undefined);
    this.#wakeLock = null;
    if (this.#context.state !== 'closed') await this.#context.close().catch(() => undefined);
  }

  async openMicrophone(deviceId?: string): Promise<MicrophoneProblem | null> {
    this.#wantedInput = deviceId;
    // Some systems give a device to one user at a time, so the old stream goes first.
    this.#closeMicrophone();
    const problem = await this.#use(await askForMicrophone(deviceId));
    await this.#announceDevices();
    return problem;
  }

  setMicrophone(state: MicrophoneState): void {
    this.#microphone = state;
    const message: ToCapture = { kind: 'silence', on: state !== 'open' };
    this.#capture?.port.postMessage(message);
    // The worklet sends the silence; this is for the browser's own microphone sign.
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = state !== 'muted';
  }

  async setOutputDevice(deviceId: string): Promise<void> {
    const context: object = this.#context;
    if (!choosesSink(context)) return;
    try {
      await context.setSinkId(deviceId);
      const isDefault = deviceId === '' || deviceId === 'default';
      this.#condition('echo-not-cancelled', !isDefault && this.#stream !== null);
    } catch {
      await this.#announceDevices(); // it was unplugged; the default goes on
    }
  }

  async resume(): Promise<void> {
    // While a telephone call holds the sound, resuming would leave it dead on iOS: the state is then `interrupted`.
    if (this.#context.state === 'suspended') await this.#context.resume().catch(() => undefined);
  }

  play(item: string, samples: Int16Array<ArrayBuffer>): void {
    this.#tellPlayback({ kind: 'push', item, samples }, [samples.buffer]);
  }

  finish(item: string): void {
    this.#tellPlayback({ kind: 'finish', item });
  }

  flush(): Promise<FlushReport> {
    // A context that does not run answers nothing, and nothing was heard of it either.
    if (!this.#playback || this.#context.state !== 'running') {
      this.#tellPlayback({ kind: 'flush', id: 0 });
      return Promise.resolve(NOTHING_FLUSHED);
    }
    this.#lastFlush += 1;
    const id = this.#lastFlush;
    return new Promise((settle) => {
      this.#flushes.set(id, settle);
      this.#tellPlayback({ kind: 'flush', id });
    });
  }

  #startPlayback(): void {
    const node = new AudioWorkletNode(this.#context, PLAYBACK_PROCESSOR, {
      numberOfInputs: 0,
      outputChannelCount: [1],
    });
    node.port.onmessage = ({ data }: MessageEvent<FromPlayback>) => this.#heardFromPlayback(data);
    node.connect(this.#context.destination);
    this.#playback = node;
    this.#playbackRate = this.#context.sampleRate;
  }

  /** A worklet keeps the rate it was made with, and some browsers change that of the context. */
  #followRate(): void {
    const old = this.#playback;
    if (!old || this.#context.sampleRate === this.#playbackRate) return;
    this.#emit({ kind: 'rebuilding' });
    this.#tellPlayback({ kind: 'end' });
    this.#startPlayback();
    old.disconnect();
    this.#connectCapture();
  }

  #heardFromPlayback(message: FromPlayback): void {
    switch (message.kind) {
      case 'flushed': {
        const settle = this.#flushes.get(message.id);
        this.#flushes.delete(message.id);
        settle?.({ ...message.flushed, silentInMs: RAMP_MS + this.#outputLatencyMs });
        break;
      }
      case 'started':
        this.#emit({ ...message, outputLatencyMs: this.#outputLatencyMs });
        break;
      case 'underrun':
      case 'idle':
      case 'state':
        this.#emit(message);
        break;
    }
  }

  async #use(answer: MicrophoneAnswer | null): Promise<MicrophoneProblem | null> {
    if (!answer) return null;
    if (answer.problem) return answer.problem;
    if (this.#ending.signal.aborted) {
      stopTracks(answer.stream); // closed while the question was open
      return null;
    }
    this.#closeMicrophone();
    const { stream } = answer;
    this.#stream = stream;
    this.#connectCapture();
    for (const track of stream.getAudioTracks()) {
      track.addEventListener('ended', () => void this.#replaceLost(stream), { signal: this.#ending.signal });
      this.#condition('narrow-band-headset', isNarrowBand(track));
    }
    return null;
  }

  #connectCapture(): void {
    this.#disconnectCapture();
    const stream = this.#stream;
    if (!stream) return;
    const processorOptions: CaptureOptions = { frameMs: this.#frameMs };
    const capture = new AudioWorkletNode(this.#context, CAPTURE_PROCESSOR, {
      numberOfInputs: 1,
      numberOfOutputs: 1,
      processorOptions,
    });
    capture.port.onmessage = ({ data }: MessageEvent<FromCapture>) => this.#emit({ kind: 'frame', ...data });
    const source = this.#context.createMediaStreamSource(stream);
    source.connect(capture);
    // Its output is silence; a node that leads nowhere is not run by every browser.
    capture.connect(this.#context.destination);
    this.#source = source;
    this.#capture = capture;
    this.setMicrophone(this.#microphone);
  }

  #disconnectCapture(): void {
    this.#source?.disconnect();
    this.#capture?.disconnect();
    if (this.#capture) this.#capture.port.onmessage = null;
    this.#source = null;
    this.#capture = null;
  }

  #closeMicrophone(): void {
    this.#disconnectCapture();
    stopTracks(this.#stream);
    this.#stream = null;
  }

  /** The microphone was unplugged or taken away: go on with the default one. */
  async #replaceLost(lost: MediaStream): Promise<void> {
    if (lost !== this.#stream) return;
    const problem = await this.openMicrophone();
    if (problem) this.#emit({ kind: 'problem', problem });
  }

  #watchStart(): void {
    const { signal } = this.#ending;
    const stillSilent = () => !signal.aborted && this.#context.state !== 'running';
    const blocked = setTimeout(() => {
      if (stillSilent()) this.#tellState();
    }, BLOCKED_AFTER_MS);
    const absent = setTimeout(() => {
      if (stillSilent()) this.#emit({ kind: 'problem', problem: 'no-output' });
    }, NO_OUTPUT_AFTER_MS);
    signal.addEventListener('abort', () => {
      clearTimeout(blocked);
      clearTimeout(absent);
    });
    this.#context.addEventListener('statechange', () => this.#tellState(), { signal });
  }

  #tellState(): void {
    const state: string = this.#context.state; // `interrupted` is Safari's, and in no type
    this.#hasRun ||= state === 'running';
    this.#condition('sound-blocked', state === 'suspended' && !this.#hasRun);
    this.#condition('sound-stopped', state === 'suspended' && this.#hasRun);
    this.#condition('sound-taken', state === 'interrupted');
    this.#followRate();
  }

  #observePage(): void {
    const { signal } = this.#ending;
    // A page kept for the back button would keep the microphone on.
    addEventListener('pagehide', () => void this.stop(), { signal });
    document.addEventListener(
      'visibilitychange',
      () => {
        // The system takes the lock away with the page's visibility.
        if (document.visibilityState === 'visible') void this.#keepAwake();
      },
      { signal },
    );
    navigator.mediaDevices?.addEventListener(
      'devicechange',
      () => {
        clearTimeout(this.#settling);
        this.#settling = setTimeout(() => void this.#devicesChanged(), SETTLED_AFTER_MS);
      },
      { signal },
    );
  }

  async #devicesChanged(): Promise<void> {
    const devices = await this.#announceDevices();
    if (this.#ending.signal.aborted) return;
    const gone = this.#wantedInput && !devices.inputs.some(({ id }) => id === this.#wantedInput);
    if (gone && this.#stream) await this.#replaceLost(this.#stream);
    // The same stream may now come at another rate. Asking for another one would ask the user too.
    else this.#connectCapture();
    this.#followRate();
  }

  async #announceDevices(): Promise<AudioDevices> {
    const devices = await audioDevices();
    this.#emit({ kind: 'devices', devices });
    return devices;
  }

  async #keepAwake(): Promise<void> {
    if (!('wakeLock' in navigator) || (this.#wakeLock && !this.#wakeLock.released)) return;
    try {
      const lock = await navigator.wakeLock.request('screen');
      if (this.#ending.signal.aborted) await lock.release();
      else this.#wakeLock = lock;
    } catch {
      // A low battery may forbid it; the session works without.
    }
  }

  #condition(condition: AudioCondition, active: boolean): void {
    if (this.#conditions.has(condition) === active) return;
    if (active) this.#conditions.add(condition);
    else this.#conditions.delete(condition);
    this.#emit({ kind: 'condition', condition, active });
  }

  #tellPlayback(message: ToPlayback, transfer: Transferable[] = []): void {
    this.#playback?.port.postMessage(message, transfer);
  }

  get #outputLatencyMs(): number {
    return (this.#context.outputLatency || this.#context.baseLatency || 0) * 1000;
  }
}

type MicrophoneAnswer =
  | { readonly stream: MediaStream; readonly problem: null }
  | { readonly stream: null; readonly problem: MicrophoneProblem };

/** No `sampleRate` among the constraints: browsers differ in what they then do to the device. */
async function askForMicrophone(deviceId: string | undefined): Promise<MicrophoneAnswer> {
  if (!navigator.mediaDevices?.getUserMedia) return { stream: null, problem: 'unsupported' };
  const audio: MediaTrackConstraints = {
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
    channelCount: 1,
    ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
  };
  try {
    return { stream: await navigator.mediaDevices.getUserMedia({ audio }), problem: null };
  } catch (error) {
    // A remembered device that is no longer there is no reason to stay silent.
    if (deviceId && nameOf(error) === 'OverconstrainedError') return askForMicrophone(undefined);
    return { stream: null, problem: problemOf(error) };
  }
}

function problemOf(error: unknown): MicrophoneProblem {
  switch (nameOf(error)) {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'denied';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'no-device';
    case 'NotReadableError':
    case 'AbortError':
      return 'busy';
    default:
      return 'unsupported';
  }
}

/** `OverconstrainedError` is a DOMException in some browsers only. */
function nameOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'name' in error ? String(error.name) : '';
}

function stopTracks(stream: MediaStream | null | undefined): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function isNarrowBand(track: MediaStreamTrack): boolean {
  const rate = track.getSettings().sampleRate;
  return (
    rate !== undefined &&
    rate <= NARROW_BAND_RATE &&
    /bluetooth|hands-?free|airpods|headset/i.test(track.label)
  );
}

function asDevice({ deviceId, label }: MediaDeviceInfo): AudioDevice {
  return { id: deviceId, label };
}

interface SinkChooser {
  setSinkId(deviceId: string): Promise<void>;
}

function choosesSink(context: object): context is SinkChooser {
  return 'setSinkId' in context;
}
