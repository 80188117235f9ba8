/**
 * The parts a server works with, and what still works with the earlier ones: a reload may close those only when their
 * last request has ended.
 */
export class PartsInUse<P> {
  #current: Use<P>;

  constructor(parts: P) {
    this.#current = new Use(parts);
  }

  get current(): P {
    return this.#current.parts;
  }

  /** @returns the present parts; call `leave` when the request has ended */
  enter(): { readonly parts: P; readonly leave: () => void } {
    const use = this.#current;
    use.enter();
    return { parts: use.parts, leave: () => use.leave() };
  }

  /** What comes from now on works with these. @returns when nothing works with the earlier ones any more */
  replace(parts: P): Promise<void> {
    const earlier = this.#current;
    this.#current = new Use(parts);
    return earlier.retire();
  }
}

class Use<P> {
  readonly parts: P;
  #count = 0;
  #whenUnused: (() => void) | undefined;

  constructor(parts: P) {
    this.parts = parts;
  }

  enter(): void {
    this.#count++;
  }

  leave(): void {
    this.#count--;
    if (this.#count === 0) this.#whenUnused?.();
  }

  retire(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenUnused = resolve;
    });
  }
}
