import { LRUCache } from 'lru-cache';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { plainAddress } from '../settings/address-range.js';
import { Turns } from './turns.js';

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
  readonly #queues = new Map<string, { readonly turns: Turns; users: number }>();

  constructor(inner: Verifier, clock: Clock, limits: ThrottleLimits = { failures: 10, window: 60_000 }) {
    this.#inner = inner;
    this.#clock = clock;
    this.#limits = limits;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    if (credentials.shown.kind === 'none') return this.#inner.verify(credentials, o);
    const address = plainAddress(credentials.connection.address);
    const { shown } = credentials;
    const user = `${address} ${shown.kind === 'password' ? `password ${shown.username}` : shown.kind}`;
    const attempt = () => this.#attempt(credentials, o, { user, address });
    return shown.kind === 'password' ? this.#inTurn(user, o, attempt) : attempt();
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#inner.recheck?.(known, o);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** As many at once as may fail: were there no bound, any number of guesses would pass before the first has failed. */
  async #inTurn<V>(user: string, o: CallOptions, attempt: () => Promise<V>): Promise<V> {
    const queue = this.#queues.get(user) ?? { turns: new Turns(this.#limits.failures), users: 0 };
    this.#queues.set(user, queue);
    queue.users++;
    try {
      return await queue.turns.run(o, attempt);
    } finally {
      queue.users--;
      if (queue.users === 0) this.#queues.delete(user);
    }
  }

  async #attempt(
    credentials: ClientCredentials,
    o: CallOptions,
    { user, address }: { readonly user: string; readonly address: string },
  ): Promise<Principal | undefined> {
    this.#refuseBeyond(user, this.#limits.failures);
    this.#refuseBeyond(address, this.#limits.failures * 10);
    try {
      const principal = await this.#inner.verify(credentials, o);
      if (principal === undefined) this.#countFailure(user, address);
      else this.#counts.delete(user);
      return principal;
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'UNAUTHORIZED') this.#countFailure(user, address);
      throw error;
    }
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
