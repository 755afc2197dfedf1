/** Tells a dead microphone and an assistant that hears itself from the level of the microphone alone. */

const SILENT_BELOW_DBFS = -70;
const SILENT_FOR_MS = 5000;
const ECHO_ABOVE_DBFS = -35;
const ECHO_FOR_MS = 1000;

export class MicrophoneWatch {
  #silentMs = 0;
  #echoMs = 0;
  #hearsItself = false;

  /** Whether nothing has come from an open microphone for five seconds. */
  get isSilent(): boolean {
    return this.#silentMs >= SILENT_FOR_MS;
  }

  /** Whether the microphone was loud for a second while the assistant spoke and the user did not. */
  get hearsItself(): boolean {
    return this.#hearsItself;
  }

  /** A frame of an open microphone. */
  frame(rms: number, durationMs: number, speaking: { assistant: boolean; user: boolean }): void {
    // While the assistant speaks, echo cancellation may leave nothing of the room.
    if (rms >= SILENT_BELOW_DBFS) this.#silentMs = 0;
    else if (!speaking.assistant) this.#silentMs += durationMs;
    const isEcho = speaking.assistant && !speaking.user && rms > ECHO_ABOVE_DBFS;
    this.#echoMs = isEcho ? this.#echoMs + durationMs : 0;
    this.#hearsItself ||= this.#echoMs >= ECHO_FOR_MS;
  }

  /** The microphone is closed or muted, which is no reason to worry. */
  rest(): void {
    this.#silentMs = 0;
    this.#echoMs = 0;
  }
}
