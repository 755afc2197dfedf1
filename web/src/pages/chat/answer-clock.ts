/** Measures one answer from sending the request. */
import type { AnswerMetrics } from '../../core/conversation';

export class AnswerClock {
  readonly #started = performance.now();
  #firstText: number | null = null;
  #inputTokens: number | null = null;
  #outputTokens: number | null = null;

  sawText(): void {
    this.#firstText ??= performance.now();
  }

  sawUsage(input: number, output: number): void {
    this.#inputTokens = input;
    this.#outputTokens = output;
  }

  read(): AnswerMetrics {
    const now = performance.now();
    const writingMs = this.#firstText === null ? 0 : now - this.#firstText;
    return {
      msToFirstText: this.#firstText === null ? null : this.#firstText - this.#started,
      msTotal: now - this.#started,
      inputTokens: this.#inputTokens,
      outputTokens: this.#outputTokens,
      tokensPerSecond:
        this.#outputTokens === null || writingMs === 0 ? null : (this.#outputTokens * 1000) / writingMs,
    };
  }
}
