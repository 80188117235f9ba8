import { LRUCache } from 'lru-cache';
import { RegistryError } from '../../errors.js';

/** Of one owner. A machine that starts a program for each of its jobs shows a new proof each time. */
export const maxLive = 500;
const maxOwners = 10_000;

/**
 * How many proofs of each owner are bound, as far as this process has bound them: who can sign any number of proofs
 * without asking anybody must not fill the state.
 */
export class LiveBindings {
  /** When they end, in milliseconds since the epoch. */
  readonly #ends = new LRUCache<string, readonly number[]>({ max: maxOwners });

  /** @throws RegistryError TOOMANYREQUESTS where the owner has as many as there may be at `now` */
  requirePlace(owner: string, now: number): void {
    const ends = (this.#ends.get(owner) ?? []).filter((end) => end > now);
    this.#ends.set(owner, ends);
    if (ends.length < maxLive) return;
    throw new RegistryError('TOOMANYREQUESTS', {
      retryAfter: Math.max(1, Math.ceil((Math.min(...ends) - now) / 1000)),
      reason: `${owner} has shown ${maxLive} proofs that still count, and each may be shown again: it has to wait for one to end`,
    });
  }

  /** @param end milliseconds since the epoch */
  add(owner: string, end: number): void {
    this.#ends.set(owner, [...(this.#ends.get(owner) ?? []), end]);
  }
}
