const least = 1_000;

/**
 * When to look for expired entries that nobody asks for any more: after as many writes as entries were left last time,
 * so that what a sweep costs is shared by the writes that made it necessary.
 */
export class SweepSchedule {
  #writesLeft = least;

  /** Asked once a write. */
  isDue(): boolean {
    return --this.#writesLeft <= 0;
  }

  /** @param left entries that are still there */
  done(left: number): void {
    this.#writesLeft = Math.max(least, left);
  }
}
