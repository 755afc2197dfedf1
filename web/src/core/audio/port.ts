/** Sound in and out, as the voice controller sees it. `AudioEngine` is the browser's; tests have one in memory. */

import type { FrameMs } from './framing';
import type { Level } from './pcm';
import type { Flushed, PlaybackState } from './playback-queue';

/**
 * - `insecure-context`: browsers give a microphone only to https pages and to this machine's own
 * - `unsupported`: the browser has no AudioWorklet or no microphone access
 * - `denied`, `no-device`, `busy`: what the browser answered when asked for the microphone
 * - `no-output`: the sound system does not start, usually since there is no device to play on
 */
export type MicrophoneProblem =
  'insecure-context' | 'unsupported' | 'denied' | 'no-device' | 'busy' | 'no-output';

/** Circumstances to tell the user of; each comes and goes. */
export type AudioCondition =
  /** The browser plays nothing until the user clicks. */
  | 'sound-blocked'
  /** It was playing and was stopped; a click starts it again. */
  | 'sound-stopped'
  /** Something else has the sound, as a telephone call on iOS: it comes back, or becomes `sound-stopped`. */
  | 'sound-taken'
  /** Echo cancellation knows only the default output. */
  | 'echo-not-cancelled'
  /** A Bluetooth headset in its telephone profile. */
  | 'narrow-band-headset';

export interface AudioDevice {
  readonly id: string;
  /** Empty until the microphone was allowed once. */
  readonly label: string;
}

export interface AudioDevices {
  readonly inputs: readonly AudioDevice[];
  readonly outputs: readonly AudioDevice[];
  /** Whether this browser can play on another device than the default. */
  readonly outputSelectable: boolean;
}

export interface AudioOptions {
  readonly microphone: boolean;
  readonly inputDeviceId?: string | undefined;
  readonly outputDeviceId?: string | undefined;
  readonly frameMs?: FrameMs | undefined;
}

export interface AudioOpened {
  readonly output: boolean;
  readonly microphone: boolean;
  readonly problem: MicrophoneProblem | null;
}

/** `silenced` sends zeros; `muted` also lets the browser show the microphone as off. */
export type MicrophoneState = 'open' | 'silenced' | 'muted';

export type AudioEvent =
  /** A frame of the microphone: 24 kHz, 16 bit, mono. */
  | { readonly kind: 'frame'; readonly samples: Int16Array<ArrayBuffer>; readonly level: Level }
  /** The first sound of an item; it is audible `outputLatencyMs` from now. */
  | { readonly kind: 'started'; readonly item: string; readonly outputLatencyMs: number }
  | { readonly kind: 'underrun'; readonly item: string; readonly targetMs: number }
  /** An item was played to its end and nothing follows. */
  | { readonly kind: 'idle'; readonly item: string; readonly playedMs: number }
  /** The sound system is about to be built anew and drops what is queued: whoever is told flushes at once. */
  | { readonly kind: 'rebuilding' }
  /** 25 times a second. */
  | { readonly kind: 'state'; readonly state: PlaybackState; readonly level: Level }
  | { readonly kind: 'condition'; readonly condition: AudioCondition; readonly active: boolean }
  | { readonly kind: 'problem'; readonly problem: MicrophoneProblem }
  | { readonly kind: 'devices'; readonly devices: AudioDevices };

export interface FlushReport extends Flushed {
  /** How long the sound goes on after this report: the ramp and the device's own delay. */
  readonly silentInMs: number;
}

export interface AudioPort {
  /** Call it within a user gesture, before anything is awaited. Never rejects. */
  open(options: AudioOptions): Promise<AudioOpened>;
  close(): Promise<void>;
  /** Ask for the microphone (again); resolves to what stands in the way, or null. */
  openMicrophone(deviceId?: string): Promise<MicrophoneProblem | null>;
  setMicrophone(state: MicrophoneState): void;
  setOutputDevice(deviceId: string): Promise<void>;
  /** After `sound-blocked`; within a user gesture. */
  resume(): Promise<void>;
  play(item: string, samples: Int16Array<ArrayBuffer>): void;
  /** No more audio of this item will come. */
  finish(item: string): void;
  flush(): Promise<FlushReport>;
  listen(listener: (event: AudioEvent) => void): () => void;
}
