/** The speaker's side of the audio thread: a shell over `PlaybackQueue`. */

import { levelOf } from './pcm';
import { PlaybackQueue } from './playback-queue';
import { PLAYBACK_PROCESSOR, type FromPlayback, type ToPlayback } from './worklet-messages';

const REPORT_MS = 40;

class PlaybackProcessor extends AudioWorkletProcessor {
  readonly #queue = new PlaybackQueue(sampleRate);
  readonly #heard = new Float32Array(Math.round((sampleRate * REPORT_MS) / 1000));
  #filled = 0;
  #ended = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<ToPlayback>) => this.#take(data);
  }

  override process(_inputs: unknown, outputs: readonly (readonly Float32Array[])[]): boolean {
    const output = outputs[0]?.[0];
    if (output) {
      for (const event of this.#queue.render(output)) this.#send(event);
      this.#report(output);
    }
    return !this.#ended;
  }

  #take(message: ToPlayback): void {
    switch (message.kind) {
      case 'push':
        this.#queue.push(message.item, message.samples);
        break;
      case 'finish':
        this.#queue.finish(message.item);
        break;
      case 'flush':
        this.#send({ kind: 'flushed', id: message.id, flushed: this.#queue.flush() });
        break;
      case 'end':
        this.#ended = true;
        break;
    }
  }

  #report(output: Float32Array): void {
    const room = this.#heard.length - this.#filled;
    this.#heard.set(output.subarray(0, room), this.#filled);
    this.#filled += Math.min(room, output.length);
    if (this.#filled < this.#heard.length) return;
    this.#filled = 0;
    this.#send({ kind: 'state', state: this.#queue.state, level: levelOf(this.#heard) });
  }

  #send(message: FromPlayback): void {
    this.port.postMessage(message);
  }
}

registerProcessor(PLAYBACK_PROCESSOR, PlaybackProcessor);
