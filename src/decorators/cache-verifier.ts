import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { SingleFlight } from './single-flight.js';

/** Milliseconds for a shared verification; verifiers have limits of their own, this is the last one. */
const timeLimit = 60_000;

/** Milliseconds that an outcome is remembered. */
export interface RememberedTimes {
  /** So long a changed or removed password may still be accepted. */
  readonly accepted: number;
  readonly refused: number;
}

/** Undefined: no verifier took the credentials. */
type Outcome = Principal | RegistryError | undefined;

interface Remembered {
  readonly outcome: Outcome;
  /** Milliseconds since the epoch, as `until`. One that lies in the future is from before the clock was set back. */
  readonly since: number;
  readonly until: number;
}

/**
 * Remembers for a short time who was accepted and what was refused, so that a client which shows its password with every
 * request is not worth a question to a directory each time. That a verifier cannot tell now is never remembered. What is
 * kept is an HMAC under a key of this process, never the password; wrong guesses have a memory of their own, and push
 * nobody out of the other. Concurrent requests with the same credentials share one verification, and each may leave it.
 */
export class CacheVerifier implements Verifier {
  readonly #inner: Verifier;
  readonly #clock: Clock;
  readonly #times: RememberedTimes;
  readonly #key = randomBytes(32);
  readonly #accepted = new LRUCache<string, Remembered>({ max: 10_000 });
  readonly #refused = new LRUCache<string, Remembered>({ max: 10_000 });
  readonly #flights = new SingleFlight<Principal | undefined>(timeLimit);

  constructor(inner: Verifier, clock: Clock, times: RememberedTimes) {
    this.#inner = inner;
    this.#clock = clock;
    this.#times = times;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    if (!showsSomething(credentials)) return this.#inner.verify(credentials, o);
    const key = this.#keyOf(credentials);
    o.signal.throwIfAborted();
    const known = this.#present(this.#accepted, key) ?? this.#present(this.#refused, key);
    if (known?.outcome instanceof RegistryError) throw known.outcome;
    if (known !== undefined) return known.outcome;
    return this.#flights.run(key, o, (signal) => this.#verify(key, credentials, { signal }));
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#inner.recheck?.(known, o);
  }

  close(): Promise<void> {
    this.#flights.close();
    this.#accepted.clear();
    this.#refused.clear();
    return this.#inner.close();
  }

  async #verify(key: string, credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    try {
      const principal = await this.#inner.verify(credentials, o);
      this.#remember(key, principal);
      return principal;
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'UNAUTHORIZED') this.#remember(key, error);
      throw error;
    }
  }

  #remember(key: string, outcome: Outcome): void {
    const since = this.#clock.now();
    if (outcome === undefined || outcome instanceof RegistryError) {
      this.#refused.set(key, { outcome, since, until: since + this.#times.refused });
      return;
    }
    const until = Math.min(since + this.#times.accepted, outcome.expiresAt ?? Number.POSITIVE_INFINITY);
    this.#accepted.set(key, { outcome, since, until });
    this.#refused.delete(key);
  }

  #present(memory: LRUCache<string, Remembered>, key: string): Remembered | undefined {
    const known = memory.get(key);
    const now = this.#clock.now();
    return known !== undefined && known.since <= now && now < known.until ? known : undefined;
  }

  /** The address belongs to it: a verifier may bind what it is shown to where it was shown. */
  #keyOf({ shown, connection }: ClientCredentials): string {
    const hmac = createHmac('sha256', this.#key);
    const parts =
      shown.kind === 'password'
        ? ['password', shown.username, shown.password.reveal()]
        : shown.kind === 'bearer'
          ? ['bearer', shown.token.reveal()]
          : ['none'];
    hmac.update(JSON.stringify([...parts, connection.address]));
    hmac.update(connection.peerCertificate ?? '');
    return hmac.digest('base64');
  }
}

/** Without any of it there is nothing to remember by. */
function showsSomething({ shown, connection }: ClientCredentials): boolean {
  return shown.kind !== 'none' || connection.peerCertificate !== undefined;
}
