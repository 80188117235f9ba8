import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { clientNetwork } from './client-network.js';
import { Turns } from './turns.js';

export interface ThrottleLimits {
  /** Different wrong passwords allowed in one window. */
  readonly failures: number;
  /** Milliseconds. */
  readonly window: number;
}

/** Verifications of one address at the same time: what others wait for behind it. */
const atOnce = 8;
/** Those of one address that wait for their turn; behind one address there may be a whole office. */
const waiting = 100;

interface Failures {
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** Short keyed hashes of the passwords, at most as many as the limit. */
  readonly passwords: number[];
  /** A verifier knew the name. */
  isKnown: boolean;
}

/** Too many wrong passwords of one user from one address. */
export class Throttled extends RegistryError {
  /** True where a verifier knew the name, and refused the passwords. */
  readonly isKnown: boolean;

  /** @param retryAfter seconds */
  constructor(isKnown: boolean, retryAfter: number) {
    super('TOOMANYREQUESTS', {
      message: 'too many failed logins for this user from this address',
      retryAfter,
    });
    this.isKnown = isKnown;
  }
}

/** What is known of failures and of logins under way. Outlives the verifier where a reload replaces that. */
export class ThrottleMemory {
  readonly key = randomBytes(32);
  readonly failures = new LRUCache<string, Failures>({ max: 50_000 });
  readonly queues = new Map<string, { readonly turns: Turns; users: number }>();
}

/**
 * Slows down guessing of passwords. Counted by (user name, address), so that nobody can lock out the real user from
 * elsewhere, nor other users behind the same address. No address has more than its share of verifications under way.
 * What a client sends is kept only as a short hash under a key of this process. For an IPv6 address its /64 counts.
 */
export class ThrottleVerifier implements Verifier {
  readonly #inner: Verifier;
  readonly #clock: Clock;
  readonly #limits: ThrottleLimits;
  readonly #memory: ThrottleMemory;

  constructor(
    inner: Verifier,
    clock: Clock,
    limits: ThrottleLimits = { failures: 10, window: 60_000 },
    memory = new ThrottleMemory(),
  ) {
    this.#inner = inner;
    this.#clock = clock;
    this.#limits = limits;
    this.#memory = memory;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const { shown, connection } = credentials;
    if (shown.kind === 'none') return this.#inner.verify(credentials, o);
    const network = clientNetwork(connection.address);
    return this.#inTurn(this.#hash(network).toString('base64url'), o, () => {
      // A token cannot be guessed: only the number at once is bounded.
      if (shown.kind !== 'password') return this.#inner.verify(credentials, o);
      const user = this.#hash(network, shown.username).toString('base64url');
      const password = this.#hash(network, shown.username, shown.password.reveal()).readUIntBE(0, 6);
      return this.#attempt(user, password, () => this.#inner.verify(credentials, o));
    });
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#inner.recheck?.(known, o);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** Were there no bound, any number of guesses would pass before the first has failed. */
  async #inTurn<V>(address: string, o: CallOptions, attempt: () => Promise<V>): Promise<V> {
    const queue = this.#memory.queues.get(address) ?? { turns: new Turns(atOnce), users: 0 };
    if (queue.users >= atOnce + waiting) {
      throw new RegistryError('TOOMANYREQUESTS', {
        message: 'too many logins at the same time from this address',
        retryAfter: 1,
      });
    }
    this.#memory.queues.set(address, queue);
    queue.users++;
    try {
      return await queue.turns.run(o, attempt);
    } finally {
      queue.users--;
      if (queue.users === 0) this.#memory.queues.delete(address);
    }
  }

  async #attempt(
    user: string,
    password: number,
    verify: () => Promise<Principal | undefined>,
  ): Promise<Principal | undefined> {
    this.#refuseBeyondLimit(user);
    try {
      const principal = await verify();
      if (principal === undefined) this.#countFailure(user, password, false);
      else this.#memory.failures.delete(user);
      return principal;
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'UNAUTHORIZED')
        this.#countFailure(user, password, true);
      throw error;
    }
  }

  #refuseBeyondLimit(user: string): void {
    const known = this.#present(user);
    if (known === undefined || known.passwords.length < this.#limits.failures) return;
    throw new Throttled(
      known.isKnown,
      Math.ceil((known.since + this.#limits.window - this.#clock.now()) / 1000),
    );
  }

  /** The same wrong password again is no guess: containerd shows each by POST and then by GET. */
  #countFailure(user: string, password: number, isKnown: boolean): void {
    const known = this.#present(user);
    if (known === undefined) {
      this.#remember(user, password, isKnown);
      return;
    }
    known.isKnown ||= isKnown;
    if (known.passwords.length < this.#limits.failures && !known.passwords.includes(password)) {
      known.passwords.push(password);
    }
  }

  #remember(user: string, password: number, isKnown: boolean): void {
    const first = { since: this.#clock.now(), passwords: [password], isKnown };
    this.#memory.failures.set(user, first, { ttl: this.#limits.window });
  }

  /** Those of this window. One that begins in the future is from before the clock was set back: it has ended. */
  #present(user: string): Failures | undefined {
    const known = this.#memory.failures.get(user);
    const age = known === undefined ? -1 : this.#clock.now() - known.since;
    return age >= 0 && age < this.#limits.window ? known : undefined;
  }

  #hash(...parts: readonly string[]): Buffer {
    return createHmac('sha256', this.#memory.key).update(JSON.stringify(parts)).digest().subarray(0, 16);
  }
}
