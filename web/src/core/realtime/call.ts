/** The state of one call, from the click on Connect to its end. The controller decides; this remembers. */

import type { AudioOpened } from '../audio/port';
import type { ErrorBody } from './events';
import { MicrophoneWatch } from './microphone-watch';
import { FrameOutbox } from './outbox';
import { Replies } from './replies';
import type { RealtimeTransport } from './transport';
import type { VoiceOptions, VoicePhase } from './voice';

const NORMAL_CLOSURE = 1000;

export interface TypedText {
  readonly itemId: string;
  readonly text: string;
}

/** What belongs to one call and ends with it. */
export class Call {
  opened: AudioOpened | null = null;
  transport: RealtimeTransport | null = null;
  connectedAt: number | null = null;
  retries = 0;
  /** Whether anything of an answer has come. */
  replied = false;
  /** Texts of a call that had no answer yet: a new connection says them again. */
  unanswered: TypedText[] = [];
  /** The last event, when it was an error: what follows a refusal is only the close. */
  lastError: ErrorBody | null = null;
  /** Whether the server cancels its response by itself when it hears the user. */
  serverInterrupts = false;
  replies = new Replies();
  userSpeaking = false;
  press: { readonly at: number; sentMs: number } | null = null;
  pressedTooShortly = false;
  awaitingReply = false;
  responseWanted = false;
  /** Audio is queued or heard. */
  isSounding = false;
  isHeard = false;
  /** The assistant was cut off, and what did that still goes on. */
  cutShort = false;
  readonly watch = new MicrophoneWatch();
  readonly outbox: FrameOutbox;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    public options: VoiceOptions,
    sendFrame: (audio: string) => void,
  ) {
    this.outbox = new FrameOutbox(() => this.transport?.bufferedAmount ?? 0, sendFrame);
  }

  attach(transport: RealtimeTransport): void {
    this.transport = transport;
  }

  /** The connection is gone or given up. */
  detach(): void {
    this.cancelTimer();
    this.transport = null;
    this.outbox.clear();
  }

  /** Forget what the lost session knew. */
  restart(): void {
    this.replies = new Replies();
    this.userSpeaking = false;
    this.press = null;
    this.awaitingReply = false;
    this.responseWanted = false;
    this.isSounding = false;
    this.isHeard = false;
    this.cutShort = false;
  }

  markReplied(): void {
    this.replied = true;
    this.unanswered = [];
  }

  stop(): void {
    const { transport } = this;
    this.detach();
    transport?.close(NORMAL_CLOSURE);
  }

  /** One thing is waited for at a time. */
  after(delayMs: number, act: () => void): void {
    this.cancelTimer();
    this.#timer = setTimeout(act, delayMs);
  }

  cancelTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

export function phaseOf(call: Call): VoicePhase {
  if (call.cutShort) return 'interrupted';
  if (call.userSpeaking || call.press) return 'user-speaking';
  if (call.isHeard) return 'speaking';
  if (call.awaitingReply || call.isSounding || call.replies.active !== null) return 'thinking';
  return 'listening';
}
