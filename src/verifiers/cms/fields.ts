import { BerError, type Element } from './ber.js';

/** The elements in another one, taken in their order. */
export class Fields {
  readonly #elements: readonly Element[];
  readonly #what: string;
  #next = 0;

  /**
   * @param what what they are fields of, for messages: `the signer`
   * @throws BerError where the element has another tag
   */
  constructor(holder: Element, tag: number, what: string) {
    if (holder.tag !== tag) throw new BerError(`${what} is not there, or of another type`);
    this.#elements = holder.children;
    this.#what = what;
  }

  /** @throws BerError where there is no further one */
  any(): Element {
    const element = this.#elements[this.#next];
    if (element === undefined) throw new BerError(`${this.#what} ends too early`);
    this.#next += 1;
    return element;
  }

  optional(tag: number): Element | undefined {
    return this.#elements[this.#next]?.tag === tag ? this.any() : undefined;
  }

  get isAtEnd(): boolean {
    return this.#next >= this.#elements.length;
  }

  /** @throws BerError where there is a further one */
  end(): void {
    if (!this.isAtEnd) throw new BerError(`${this.#what} has what it should not have`);
  }

  /** The only one. @throws BerError where there are others, or none */
  only(): Element {
    const element = this.any();
    this.end();
    return element;
  }
}
