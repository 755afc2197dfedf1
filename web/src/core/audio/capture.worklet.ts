/** The microphone's side of the audio thread: a shell over `FrameCutter`. */

import { FrameCutter } from './framing';
import { CAPTURE_PROCESSOR, type CaptureOptions, type FromCapture, type ToCapture } from './worklet-messages';

class CaptureProcessor extends AudioWorkletProcessor {
  readonly #cutter: FrameCutter;

  constructor({ processorOptions }: { processorOptions: CaptureOptions }) {
    super();
    this.#cutter = new FrameCutter(sampleRate, processorOptions.frameMs);
    this.port.onmessage = ({ data }: MessageEvent<ToCapture>) => {
      this.#cutter.silenced = data.on;
    };
  }

  override process(inputs: readonly (readonly Float32Array[])[]): boolean {
    for (const frame of this.#cutter.push(inputs[0] ?? [])) this.#send(frame);
    return true;
  }

  #send(frame: FromCapture): void {
    this.port.postMessage(frame, [frame.samples.buffer]);
  }
}

registerProcessor(CAPTURE_PROCESSOR, CaptureProcessor);
