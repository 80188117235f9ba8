/** Bytes at least that are read into it at once. */
export const leastSpace = 16 * 1024;

/**
 * A buffer that one side fills while the other uses what it has: neither copies, and neither gets in the way of the
 * other.
 */
export class Ring {
  readonly #bytes: Buffer;
  /** What is in use begins here, and what waits after it. */
  #used = 0;
  #waiting = 0;
  #filled = 0;
  /** Where what was filled ends, while filling goes on at the beginning. */
  #wrapped: number | undefined;

  /** @param bytes twice as many as `leastSpace`, or more */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Where to read to next; undefined where there is too little room until more was used. */
  space(): Buffer | undefined {
    if (this.#wrapped === undefined) {
      if (this.#bytes.length - this.#filled >= leastSpace) return this.#bytes.subarray(this.#filled);
      // One byte is left free, so that full and empty differ.
      if (this.#used <= leastSpace) return undefined;
      this.#wrapped = this.#filled;
      this.#filled = 0;
    }
    const room = this.#used - 1 - this.#filled;
    return room < leastSpace ? undefined : this.#bytes.subarray(this.#filled, this.#filled + room);
  }

  /** So many bytes were read to where `space` said last. */
  fill(count: number): void {
    this.#filled += count;
  }

  /** What is in use is not in use any more. @returns what waits, which is in use now; undefined: nothing waits */
  use(): Buffer | undefined {
    this.#used = this.#waiting;
    if (this.#wrapped !== undefined && this.#waiting === this.#wrapped) {
      this.#wrapped = undefined;
      this.#used = 0;
      this.#waiting = 0;
    }
    const end = this.#wrapped ?? this.#filled;
    if (end === this.#waiting) return undefined;
    this.#waiting = end;
    return this.#bytes.subarray(this.#used, end);
  }

  /** Begins anew. Only where nothing is in use, nothing waits and nothing is being read. */
  reset(): void {
    this.#used = 0;
    this.#waiting = 0;
    this.#filled = 0;
    this.#wrapped = undefined;
  }

  get isEmpty(): boolean {
    return this.#wrapped === undefined && this.#used === this.#filled;
  }
}
