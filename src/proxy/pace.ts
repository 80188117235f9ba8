import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallOptions } from '../contracts/index.js';
import { Turns } from '../decorators/turns.js';

/** Milliseconds of work after which the event loop has others to serve. */
const sliceTime = 5;

/** Milliseconds; a slice that waited for somebody else did not use the processor all that time. */
const longestRest = 100;

/**
 * Lets long work of many go on in slices, one at a time. Between two slices nothing is done for as long as the first
 * one took, so all of it together takes half of the processor at most, and others wait for one slice.
 */
export class Pace {
  readonly #turns = new Turns(1);
  /** By the monotonic clock. */
  #restUntil = 0;

  /**
   * @param work asks `isOver` after each small step, and then returns
   * @returns the milliseconds it took
   * @throws the signal's reason where it is aborted before the slice has begun
   */
  slice(o: CallOptions, work: (isOver: () => boolean) => Promise<void>): Promise<number> {
    return this.#turns.run(o, async () => {
      // Also where the rest is over: others are served in between in any case.
      await sleep(Math.max(this.#restUntil - performance.now(), 0));
      o.signal.throwIfAborted();
      const start = performance.now();
      try {
        await work(() => performance.now() - start >= sliceTime);
        return performance.now() - start;
      } finally {
        const end = performance.now();
        this.#restUntil = end + Math.min(end - start, longestRest);
      }
    });
  }
}
