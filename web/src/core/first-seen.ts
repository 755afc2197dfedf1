/** When things were seen first, by their ids. */
export class FirstSeen {
  readonly #seconds = new Map<string, number>();

  /** In Unix seconds; one that is new is seen now. */
  at(id: string): number {
    const seen = this.#seconds.get(id) ?? Date.now() / 1000;
    this.#seconds.set(id, seen);
    return seen;
  }

  /** It was seen before, by somebody else. */
  set(id: string, seconds: number): void {
    this.#seconds.set(id, seconds);
  }
}
