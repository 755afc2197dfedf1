/** Does something only after a while in which it can be taken back. */
export class Postponed<Subject> {
  readonly #act: (subject: Subject) => void;
  readonly #onChange: (subject: Subject | null) => void;
  readonly #ms: number;
  #subject: Subject | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `onChange` is told what waits, and null when nothing does any more. */
  constructor(act: (subject: Subject) => void, onChange: (subject: Subject | null) => void, ms: number) {
    this.#act = act;
    this.#onChange = onChange;
    this.#ms = ms;
  }

  /** Do it later. What waited until now is done at once. */
  later(subject: Subject): void {
    this.now();
    this.#wait(subject);
    this.#timer = setTimeout(() => this.now(), this.#ms);
  }

  /** Take back what waits. */
  undo(): void {
    this.#wait(null);
  }

  /** Do what waits without waiting any longer. */
  now(): void {
    const subject = this.#subject;
    if (subject === null) return;
    this.#wait(null);
    this.#act(subject);
  }

  #wait(subject: Subject | null): void {
    clearTimeout(this.#timer);
    this.#subject = subject;
    this.#onChange(subject);
  }
}
