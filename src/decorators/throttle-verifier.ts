import { LRUCache } from 'lru-cache';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { plainAddress } from '../settings/address-range.js';

export interface ThrottleLimits {
  /** Failures allowed in one window. */
  readonly failures: number;
  /** Milliseconds. */
  readonly window: number;
}

/**
 * Slows down guessing. Counted by (user name, address), so that nobody can lock out the real user from elsewhere; and
 * with ten times the allowance by address, so that trying many names is slow too.
 */
export class ThrottleVerifier implements Verifier {
  readonly #inner: Verifier;
  readonly #clock: Clock;
  readonly #limits: ThrottleLimits;
  readonly #counts = new LRUCache<string, { failures: number; since: number }>({ max: 50_000 });
  /** Passwords of one (user name, address) that are being verified: each may become a failure. */
  readonly #underWay = new Map<string, number>();

  constructor(inner: Verifier, clock: Clock, limits: ThrottleLimits = { failures: 10, window: 60_000 }) {
    this.#inner = inner;
    this.#clock = clock;
    this.#limits = limits;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    if (credentials.shown.kind === 'none') return this.#inner.verify(credentials, o);
    const address = plainAddress(credentials.connection.address);
    const { shown } = credentials;
    const user = `${address} ${shown.kind === 'password' ? shown.username : ''}`;
    this.#refuseBeyond(address, this.#limits.failures * 10);
    // Many guesses at once must not all pass before the first has failed. Tokens are not guessed, and many clients
    // behind one address show theirs at once.
    const guesses = shown.kind === 'password' ? (this.#underWay.get(user) ?? 0) : 0;
    this.#refuseBeyond(user, this.#limits.failures, guesses);
    this.#underWay.set(user, guesses + 1);
    try {
      const principal = await this.#inner.verify(credentials, o);
      if (principal === undefined) this.#countFailure(user, address);
      else this.#counts.delete(user);
      return principal;
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'UNAUTHORIZED') this.#countFailure(user, address);
      throw error;
    } finally {
      const left = (this.#underWay.get(user) ?? 1) - 1;
      if (left > 0) this.#underWay.set(user, left);
      else this.#underWay.delete(user);
    }
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#inner.recheck?.(known, o);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #refuseBeyond(key: string, limit: number, guesses = 0): void {
    const { window } = this.#limits;
    const count = this.#counts.get(key);
    const left = count === undefined ? 0 : count.since + window - this.#clock.now();
    const failures = count === undefined || left <= 0 ? 0 : count.failures;
    if (failures + guesses < limit) return;
    throw new RegistryError('TOOMANYREQUESTS', {
      message: 'too many failed logins from this address',
      // Where only guesses under way are too many, those are over soon.
      retryAfter: failures < limit ? 1 : Math.ceil(left / 1000),
    });
  }

  #countFailure(...keys: readonly string[]): void {
    const now = this.#clock.now();
    for (const key of keys) {
      const count = this.#counts.get(key);
      if (count === undefined || count.since + this.#limits.window <= now) {
        this.#counts.set(key, { failures: 1, since: now });
      } else {
        count.failures++;
      }
    }
  }
}
