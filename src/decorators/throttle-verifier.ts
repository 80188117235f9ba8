import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { isIdentityEnvelope, isMachineUser } from '../protocol/identity-envelope.js';
import type { Secret } from '../secret.js';
import { clientNetwork } from './client-network.js';
import { Turns } from './turns.js';
import { userNameKey } from './user-name-key.js';

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
  knownUser: boolean;
}

/** A verifier that is several: what waits for one of them keeps none waiting that are in another lane. */
export interface LanedVerifier extends Verifier {
  /** From a closed set. Cheap, and without I/O. */
  laneOf?(credentials: ClientCredentials): string;
}

/** A wrong password, in hashes. */
export interface LoginFailure {
  readonly user: string;
  readonly password: number;
  readonly knownUser: boolean;
}

/** What is known of failures and of logins under way. Outlives the verifier where a reload replaces that. */
export class ThrottleMemory {
  readonly key: Uint8Array;
  /** Told of each failure here, for other processes with the same key. */
  readonly tell: (failure: LoginFailure) => void;
  /** Counts one of another process; the verifier that uses this memory sets it. */
  learn: (failure: LoginFailure) => void = () => {};
  readonly failures = new LRUCache<string, Failures>({ max: 50_000 });
  readonly queues = new Map<string, { readonly turns: Turns; users: number }>();

  constructor(key: Uint8Array = randomBytes(32), tell: (failure: LoginFailure) => void = () => {}) {
    this.key = key;
    this.tell = tell;
  }
}

/**
 * Slows down guessing of passwords. Counted by (user name, address), so that nobody can lock out the real user from
 * elsewhere, nor other users behind the same address. All spellings of a name are one. A success clears nothing: a token
 * of one's own may be accepted with anybody's name. No address has more than its share of verifications under way; who waits
 * for a directory that is slow keeps none waiting whom another verifier judges. What a client sends is kept only as a short
 * hash under a key of this process. For an IPv6 address its /64 counts.
 */
export class ThrottleVerifier implements Verifier {
  readonly #inner: LanedVerifier;
  readonly #clock: Clock;
  readonly #limits: ThrottleLimits;
  readonly #memory: ThrottleMemory;

  constructor(
    inner: LanedVerifier,
    clock: Clock,
    limits: ThrottleLimits = { failures: 10, window: 60_000 },
    memory = new ThrottleMemory(),
  ) {
    this.#inner = inner;
    this.#clock = clock;
    this.#limits = limits;
    this.#memory = memory;
    memory.learn = (failure) => this.#countFailure(failure);
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const { shown, connection } = credentials;
    if (shown.kind === 'none') return this.#inner.verify(credentials, o);
    const network = clientNetwork(connection.address);
    const queue = this.#hash(network, this.#inner.laneOf?.(credentials) ?? '').toString('base64url');
    return this.#inTurn(queue, o, () => {
      // A token cannot be guessed, nor can a machine's proof: only the number at once is bounded.
      if (shown.kind !== 'password' || isMachinesProof(shown)) return this.#inner.verify(credentials, o);
      const name = userNameKey(shown.username);
      const user = this.#hash(network, name).toString('base64url');
      const password = this.#hash(network, name, shown.password.reveal()).readUIntBE(0, 6);
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
  async #inTurn<V>(lane: string, o: CallOptions, attempt: () => Promise<V>): Promise<V> {
    const queue = this.#memory.queues.get(lane) ?? { turns: new Turns(atOnce), users: 0 };
    if (queue.users >= atOnce + waiting) {
      throw new RegistryError('TOOMANYREQUESTS', {
        message: 'too many logins at the same time from this address',
        retryAfter: 1,
      });
    }
    this.#memory.queues.set(lane, queue);
    queue.users++;
    try {
      return await queue.turns.run(o, attempt);
    } finally {
      queue.users--;
      if (queue.users === 0) this.#memory.queues.delete(lane);
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
      if (principal === undefined) this.#fail({ user, password, knownUser: false });
      return principal;
    } catch (error) {
      if (error instanceof RegistryError && isGuess(error))
        this.#fail({ user, password, knownUser: error.knownUser });
      throw error;
    }
  }

  #fail(failure: LoginFailure): void {
    this.#countFailure(failure);
    this.#memory.tell(failure);
  }

  #refuseBeyondLimit(user: string): void {
    const known = this.#present(user);
    if (known === undefined || known.passwords.length < this.#limits.failures) return;
    throw new RegistryError('TOOMANYREQUESTS', {
      message: 'too many failed logins for this user from this address',
      retryAfter: Math.ceil((known.since + this.#limits.window - this.#clock.now()) / 1000),
      knownUser: known.knownUser,
    });
  }

  /** The same wrong password again is no guess: containerd shows each by POST and then by GET. */
  #countFailure({ user, password, knownUser }: LoginFailure): void {
    const known = this.#present(user);
    if (known === undefined) {
      this.#remember(user, password, knownUser);
      return;
    }
    known.knownUser ||= knownUser;
    if (known.passwords.length < this.#limits.failures && !known.passwords.includes(password)) {
      known.passwords.push(password);
    }
  }

  #remember(user: string, password: number, knownUser: boolean): void {
    const first = { since: this.#clock.now(), passwords: [password], knownUser };
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

/**
 * Whether a verifier takes it or not: one machine that shows what is for somebody else must not lock out the others behind
 * its address. With anybody else's name it is a password like others, for a directory may be asked about it.
 */
function isMachinesProof({ username, password }: { readonly username: string; readonly password: Secret }) {
  return isMachineUser(username) && isIdentityEnvelope(password.reveal());
}

function isGuess({ code, countsAsGuess, isProof }: RegistryError): boolean {
  return countsAsGuess || (code === 'UNAUTHORIZED' && !isProof);
}
