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

  constructor(inner: Verifier, clock: Clock, limits: ThrottleLimits = { failures: 10, window: 60_000 }) {
    this.#inner = inner;
    this.#clock = clock;
    this.#limits = limits;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    if (credentials.shown.kind === 'none') return this.#inner.verify(credentials, o);
    const address = plainAddress(credentials.connection.address);
    const name = credentials.shown.kind === 'password' ? credentials.shown.username : '';
    const counted = [
      { key: `${address} ${name}`, limit: this.#limits.failures },
      { key: address, limit: this.#limits.failures * 10 },
    ];
    for (const { key, limit } of counted) this.#refuseBeyond(key, limit);
    try {
      const principal = await this.#inner.verify(credentials, o);
      if (principal === undefined) this.#countFailure(counted);
      else this.#counts.delete(`${address} ${name}`);
      return principal;
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'UNAUTHORIZED') this.#countFailure(counted);
      throw error;
    }
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#inner.recheck?.(known, o);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #refuseBeyond(key: string, limit: number): void {
    const count = this.#counts.get(key);
    const left = count === undefined ? 0 : count.since + this.#limits.window - this.#clock.now();
    if (count === undefined || left <= 0 || count.failures < limit) return;
    throw new RegistryError('TOOMANYREQUESTS', {
      message: 'too many failed logins from this address',
      retryAfter: Math.ceil(left / 1000),
    });
  }

  #countFailure(counted: readonly { key: string }[]): void {
    const now = this.#clock.now();
    for (const { key } of counted) {
      const count = this.#counts.get(key);
      if (count === undefined || count.since + this.#limits.window <= now) {
        this.#counts.set(key, { failures: 1, since: now });
      } else {
        count.failures++;
      }
    }
  }
}
