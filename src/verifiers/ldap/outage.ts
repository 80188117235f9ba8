import type { Clock } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';

/** Milliseconds after a failure. */
const length = 5_000;

/**
 * While a directory is silent, logins do not queue up to wait for it: one at a time tries it, and all others are refused
 * at once. So there is no pause, and the first login after its return finds it.
 */
export class Outage {
  readonly #clock: Clock;
  readonly #silence: () => string | undefined;
  /** Milliseconds since the epoch; undefined: it is none, as far as is known. */
  #failedAt: number | undefined;
  #isTried = false;
  #answers = 0;

  /** @param silence what each server failed by, where all have been silent of late */
  constructor(clock: Clock, silence: () => string | undefined) {
    this.#clock = clock;
    this.#silence = silence;
  }

  /** The directory has answered somebody. */
  answered(): void {
    this.#answers++;
    this.#failedAt = undefined;
  }

  /** @throws RegistryError UNAVAILABLE where somebody else tries; what `work` throws */
  async run<V>(work: () => Promise<V>): Promise<V> {
    const isTrial = this.#lasts();
    if (isTrial) {
      if (this.#isTried) throw this.#refusal();
      this.#isTried = true;
    }
    const answers = this.#answers;
    try {
      return await work();
    } catch (error) {
      // It may be slow about one account alone: then it answers others meanwhile.
      if (this.#answers === answers && this.#silence() !== undefined) this.#failedAt = this.#clock.now();
      throw error;
    } finally {
      if (isTrial) this.#isTried = false;
    }
  }

  /** A trial under way may take longer than that. */
  #lasts(): boolean {
    if (this.#failedAt === undefined) return false;
    const since = this.#clock.now() - this.#failedAt;
    // Below zero: the clock was set back.
    return this.#isTried || (since >= 0 && since < length);
  }

  #refusal(): RegistryError {
    const silence = this.#silence() ?? 'no answer';
    const reason = `every server of the directory failed lately, and another login is trying them again (${silence})`;
    return new RegistryError('UNAVAILABLE', { reason });
  }
}
