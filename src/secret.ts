import { inspect } from 'node:util';

/**
 * A value that never shows itself: printing, logging, JSON and template strings all give `[secret]`.
 * Redaction is by type, so no log line depends on somebody's care. `reveal` is the one way out.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. Call it where the value is used, and pass the Secret everywhere else. */
  reveal(): string {
    return this.#value;
  }

  get isEmpty(): boolean {
    return this.#value === '';
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
