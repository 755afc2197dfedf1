/** The comparison of one page: which clip, how it goes, and what was measured. */
import { announcer } from '../../../app/announcer.svelte';
import { api, app } from '../../../app/console.svelte';
import type { ProviderView } from '../../../core/api/console';
import { clipMs, ClipRecorder, decodeClip, type Clip } from '../../../core/audio/clip';
import type { MicrophoneProblem } from '../../../core/audio/port';
import {
  compare,
  compared,
  WAYS,
  type Step,
  type Trial,
  type Way,
  type WayFailure,
} from '../../../core/realtime/comparison';
import { throughGateway } from '../../../core/realtime/through-gateway';
import { WebSocketTransport } from '../../../core/realtime/transport';
import { wishes } from '../wishes.svelte';
import questionUrl from './question.mp3?url';
import { own } from './words';

export const SOURCES = ['bundled', 'own', 'file'] as const;
export type Source = (typeof SOURCES)[number];
export const RUNS = [1, 3, 5, 10] as const;

export class Comparison {
  source = $state<Source>('bundled');
  runs = $state<number>(5);
  trials = $state.raw<readonly Trial[]>([]);
  failures = $state.raw<readonly WayFailure[]>([]);
  /** Null unless it runs. */
  at = $state.raw<{ readonly way: Way; readonly run: number; readonly step: Step } | null>(null);
  /** How the last one ended. */
  ended = $state<'done' | 'cancelled' | null>(null);
  /** How long the recording is, in milliseconds; null while nothing is recorded. */
  recordingMs = $state<number | null>(null);
  microphoneProblem = $state.raw<MicrophoneProblem | null>(null);
  clipProblem = $state<'notSound' | 'nothingHeard' | null>(null);
  #clips = $state.raw<Partial<Record<Source, Clip>>>({});
  #recorder: ClipRecorder | null = null;
  #running: AbortController | null = null;

  readonly table = $derived(compared(this.trials));
  /** How many of the runs are over. */
  readonly done = $derived(this.trials.length + this.#missing());
  readonly clipMs = $derived.by(() => {
    const clip = this.#clips[this.source];
    return clip ? clipMs(clip) : null;
  });
  /** The bundled clip is there whenever it is wanted. */
  readonly hasClip = $derived(this.source === 'bundled' || this.clipMs !== null);

  async start(provider: ProviderView): Promise<void> {
    const model = wishes.model;
    const clip = await this.#clip();
    if (!clip || this.#running) return;
    const running = (this.#running = new AbortController());
    this.trials = [];
    this.failures = [];
    this.ended = null;
    await compare(
      {
        clip,
        runs: this.runs,
        voice: wishes.voice,
        signal: running.signal,
        dial: {
          gateway: () => throughGateway(app.address(provider), model),
          direct: () => new WebSocketTransport((signal) => api.direct(provider.slug, model, signal)),
        },
      },
      {
        step: (way, run, step) => (this.at = { way, run, step }),
        trial: (trial) => (this.trials = [...this.trials, trial]),
        failed: (failure) => (this.failures = [...this.failures, failure]),
      },
    );
    this.#running = null;
    this.at = null;
    this.ended = running.signal.aborted ? 'cancelled' : 'done';
    announcer.say(own.t[this.ended]);
  }

  cancel(): void {
    this.#running?.abort();
  }

  /** Within the user's click. */
  async record(): Promise<void> {
    const recorder = (this.#recorder = new ClipRecorder());
    this.clipProblem = null;
    this.recordingMs = 0;
    this.microphoneProblem = await recorder.start(
      wishes.inputDeviceId || undefined,
      (ms) => (this.recordingMs = ms),
    );
    if (this.microphoneProblem) await this.stopRecording();
  }

  async stopRecording(): Promise<void> {
    const clip = await this.#recorder?.stop();
    this.#recorder = null;
    this.recordingMs = null;
    if (clip) this.#clips = { ...this.#clips, own: clip };
    else if (!this.microphoneProblem) this.clipProblem = 'nothingHeard';
  }

  async take(file: File | undefined): Promise<void> {
    if (!file) return;
    this.clipProblem = null;
    try {
      this.#clips = { ...this.#clips, file: await decodeClip(await file.arrayBuffer()) };
    } catch {
      const others = { ...this.#clips };
      delete others.file;
      this.#clips = others;
      this.clipProblem = 'notSound';
    }
  }

  stop(): void {
    this.cancel();
    void this.#recorder?.stop();
  }

  async #clip(): Promise<Clip | undefined> {
    if (this.source === 'bundled' && !this.#clips.bundled) {
      const file = await fetch(questionUrl).then((answer) => answer.arrayBuffer());
      this.#clips = { ...this.#clips, bundled: await decodeClip(file) };
    }
    return this.#clips[this.source];
  }

  /** Runs that will not come, since their way was given up. */
  #missing(): number {
    return WAYS.filter((way) => this.failures.some((failure) => failure.way === way)).reduce(
      (sum, way) => sum + this.runs - this.trials.filter((trial) => trial.way === way).length,
      0,
    );
  }
}
