/** Microphone frames on their way out. On a slow line the oldest are dropped: late speech is of no use. */

/** About four seconds of audio in base64. */
const CONGESTED_BYTES = 256 * 1024;
/** One second of frames waits for the line to clear. */
const HELD_FRAMES = 25;

export class FrameOutbox {
  #held: string[] = [];
  #dropped = 0;

  /** `bufferedAmount` is the transport's; `send` takes one frame in base64. */
  constructor(
    private readonly bufferedAmount: () => number,
    private readonly send: (audio: string) => void,
  ) {}

  get dropped(): number {
    return this.#dropped;
  }

  push(audio: string): void {
    this.#held.push(audio);
    while (this.#held.length > 0 && this.bufferedAmount() <= CONGESTED_BYTES) this.#sendOldest();
    while (this.#held.length > HELD_FRAMES) {
      this.#held.shift();
      this.#dropped += 1;
    }
  }

  /** Send what waits, whatever the line's state: what follows belongs after it. */
  flush(): void {
    while (this.#held.length > 0) this.#sendOldest();
  }

  clear(): void {
    this.#held = [];
  }

  #sendOldest(): void {
    const audio = this.#held.shift();
    if (audio !== undefined) this.send(audio);
  }
}
