import type { Clock } from '../../contracts/index.js';

/** Lets something happen at most once in a while: what clients bring about must not fill a log. */
export class Seldom {
  readonly #clock: Clock;
  readonly #pause: number;
  #last: number | undefined;

  /** @param pause milliseconds */
  constructor(clock: Clock, pause: number) {
    this.#clock = clock;
    this.#pause = pause;
  }

  run(what: () => void): void {
    const now = this.#clock.now();
    const passed = this.#last === undefined ? undefined : now - this.#last;
    if (passed !== undefined && passed >= 0 && passed < this.#pause) return;
    this.#last = now;
    what();
  }
}
