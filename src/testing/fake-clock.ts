import type { Clock } from '../contracts/clock.js';

/** A clock that stands still until it is told to move. */
export class FakeClock implements Clock {
  #now: number;

  /** @param now milliseconds since the epoch */
  constructor(now = Date.parse('2026-01-01T00:00:00Z')) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  /** Milliseconds. */
  advance(milliseconds: number): void {
    this.#now += milliseconds;
  }
}
