import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { CallOptions, ClientCredentials, Clock, Principal, Verifier } from '../contracts/index.js';
import { SingleFlight } from './single-flight.js';

/** Milliseconds for a shared verification; verifiers have limits of their own, this is the last one. */
const timeLimit = 60_000;

interface Remembered {
  readonly principal: Principal;
  /** Milliseconds since the epoch, as `until`. One that lies in the future is from before the clock was set back. */
  readonly since: number;
  readonly until: number;
}

/**
 * Remembers successes for a short time, so that a client which shows its password with every request is not worth a
 * password hash each time. Failures are never remembered. What is kept is an HMAC under a key of this process, never
 * the password. Concurrent requests with the same credentials share one verification, and each may leave it.
 */
export class CacheVerifier implements Verifier {
  readonly #inner: Verifier;
  readonly #clock: Clock;
  readonly #ttl: number;
  readonly #key = randomBytes(32);
  readonly #known = new LRUCache<string, Remembered>({ max: 10_000 });
  readonly #flights = new SingleFlight<Principal | undefined>(timeLimit);

  /** @param ttl milliseconds: how long a changed or removed password may still be accepted */
  constructor(inner: Verifier, clock: Clock, ttl: number) {
    this.#inner = inner;
    this.#clock = clock;
    this.#ttl = ttl;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    if (credentials.shown.kind === 'none') return this.#inner.verify(credentials, o);
    const key = this.#keyOf(credentials);
    o.signal.throwIfAborted();
    const known = this.#known.get(key);
    const now = this.#clock.now();
    if (known !== undefined && known.since <= now && now < known.until) return known.principal;
    return this.#flights.run(key, o, (signal) => this.#verify(key, credentials, { signal }));
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#inner.recheck?.(known, o);
  }

  close(): Promise<void> {
    this.#flights.close();
    this.#known.clear();
    return this.#inner.close();
  }

  async #verify(key: string, credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const principal = await this.#inner.verify(credentials, o);
    if (principal !== undefined) {
      const since = this.#clock.now();
      const until = Math.min(since + this.#ttl, principal.expiresAt ?? Number.POSITIVE_INFINITY);
      this.#known.set(key, { principal, since, until });
    }
    return principal;
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
