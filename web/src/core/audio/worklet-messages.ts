/** What the page and its two audio worklets say to each other. */

import type { CapturedFrame, FrameMs } from './framing';
import type { Level } from './pcm';
import type { Flushed, PlaybackEvent, PlaybackState } from './playback-queue';

export const CAPTURE_PROCESSOR = 'trunkline-capture';
export const PLAYBACK_PROCESSOR = 'trunkline-playback';

export interface CaptureOptions {
  readonly frameMs: FrameMs;
}

export type ToCapture = { readonly kind: 'silence'; readonly on: boolean };
export type FromCapture = CapturedFrame;

export type ToPlayback =
  | { readonly kind: 'push'; readonly item: string; readonly samples: Int16Array<ArrayBuffer> }
  | { readonly kind: 'finish'; readonly item: string }
  | { readonly kind: 'flush'; readonly id: number }
  /** Another node takes over: the audio thread need not run this one any more. */
  | { readonly kind: 'end' };

export type FromPlayback =
  | PlaybackEvent
  | { readonly kind: 'flushed'; readonly id: number; readonly flushed: Flushed }
  | { readonly kind: 'state'; readonly state: PlaybackState; readonly level: Level };
