/** What the page asks of a voice call, and what it sees of one. */

import type { AudioCondition, AudioDevices, MicrophoneProblem } from '../audio/port';
import type { FrameMs } from '../audio/framing';
import type { EventLogView } from './event-log';
import type { LatencySummary } from './latency';
import type { RecordedSide } from './recording';
import type { Transcript } from './reducer';

export type VoiceStatus =
  'idle' | 'asking-microphone' | 'connecting' | 'live' | 'reconnecting' | 'closing' | 'failed';

export type VoicePhase = 'listening' | 'user-speaking' | 'thinking' | 'speaking' | 'interrupted';

export type VoiceMode = 'vad' | 'push-to-talk';

export interface VoiceOptions {
  readonly model: string;
  readonly voice: string;
  readonly instructions?: string;
  readonly mode: VoiceMode;
  readonly inputDeviceId?: string;
  readonly outputDeviceId?: string;
  /** How much sound goes into one message; 40 ms when absent. */
  readonly frameMs?: FrameMs;
  /** Without it nobody is asked for a microphone, and the call is by text in and sound out. */
  readonly microphone: boolean;
  /** Which model writes down what the user says; `whisper-1` when absent. */
  readonly transcriptionModel?: string;
}

export interface VoiceProblem {
  /**
   * - a `MicrophoneProblem`: the call goes on by text
   * - `refused`: the gateway or provider says why, in `message`; while live it concerns one request only
   * - `closed`: the other side ended the call; `closeCode` says how
   * - `lost`: the connection broke during the call
   * - `unreachable`: it never came about
   */
  readonly kind: MicrophoneProblem | 'refused' | 'closed' | 'lost' | 'unreachable';
  /** The error's code, of `refused`. */
  readonly code?: string;
  readonly closeCode?: number;
  readonly message?: string;
}

export type Hint =
  | AudioCondition
  /** Nothing has come from the microphone for five seconds. */
  | 'microphone-silent'
  /** The microphone hears the speaker. */
  | 'use-headphones'
  /** The talk button was held too shortly. */
  | 'press-longer';

/** In dBFS. */
export interface VoiceLevels {
  readonly input: number;
  readonly output: number;
}

export interface VoiceSnapshot {
  readonly status: VoiceStatus;
  /** null unless live. */
  readonly phase: VoicePhase | null;
  readonly problem: VoiceProblem | null;
  readonly transcript: Transcript;
  readonly levels: VoiceLevels;
  readonly latency: LatencySummary;
  readonly events: EventLogView;
  /** When the session began, on the clock of `performance.now()`. */
  readonly connectedAt: number | null;
  readonly microphone: boolean;
  readonly muted: boolean;
  readonly halfDuplex: boolean;
  readonly mode: VoiceMode;
  readonly talking: boolean;
  readonly recording: boolean;
  /** Whether there is a recording of a side to export. */
  readonly recorded: Readonly<Record<RecordedSide, boolean>>;
  readonly buffered: { readonly depthMs: number; readonly targetMs: number; readonly underruns: number };
  readonly droppedFrames: number;
  readonly lastInterruption: { readonly itemId: string; readonly atMs: number } | null;
  readonly hints: readonly Hint[];
  /** null until the first call. */
  readonly devices: AudioDevices | null;
}
