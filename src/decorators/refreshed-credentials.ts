import { LRUCache } from 'lru-cache';
import type {
  CallOptions,
  Clock,
  Credential,
  CredentialSource,
  CredentialTarget,
  Log,
  Metrics,
} from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import type { RegistryHost } from '../reference/registry-host.js';
import { type CredentialMetrics, credentialMetrics, type FetchResult } from './credential-metrics.js';
import { type CredentialOwner, describeOwner, ownerFields } from './credential-owner.js';
import { NotAwaited } from './not-awaited.js';
import { KeyChanged, RefreshedCredential } from './refreshed-credential.js';
import { credentialDigest } from './same-credential.js';
import { SingleFlight, untilAborted } from './single-flight.js';

export type RefreshedCredentialsSettings = CredentialOwner & {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** What came of asking the source last. Times are milliseconds since the epoch. */
export interface LastAnswer {
  readonly result: FetchResult;
  readonly at: number;
  /** Of what was obtained, where it has an end. */
  readonly expiresAt?: number;
  /** Why it failed. Holds no secret. */
  readonly reason?: string;
}

/** That a registry did not take what the source gave, and nothing since. */
export interface LastRefusal {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly registry: RegistryHost;
}

/** Milliseconds for one call of the source: more than any `timeout` that can be set for one. */
const timeLimit = 65_000;
const maxKeys = 1000;
/** In one call: whoever's source names another key each time has it asked for others again and again. */
const maxKeyChanges = 4;

interface Kept {
  readonly target: CredentialTarget;
  readonly key: string;
  readonly credential: RefreshedCredential;
}

interface Asked {
  readonly rejected: Credential | undefined;
  readonly isAwaited: () => boolean;
}

/**
 * One source, asked once for all who wait, and again before what it gave ends. What it gave serves until its end also
 * where it cannot be asked meanwhile. The source is not closed with it: whoever opened it closes it.
 */
export class RefreshedCredentials implements CredentialSource {
  readonly #source: CredentialSource;
  readonly #settings: RefreshedCredentialsSettings;
  readonly #metrics: CredentialMetrics;
  readonly #known = new LRUCache<string, RefreshedCredential>({ max: maxKeys });
  readonly #flights = new SingleFlight<Credential | undefined>(timeLimit);
  #kept: Kept | undefined;
  #lastAnswer: LastAnswer | undefined;
  #lastRefusal: LastRefusal | undefined;
  #unfollow = () => {};
  #isTellingLastUse = false;
  #isClosed = false;
  /** That there is none was told as an error; its repetitions are warnings. */
  #isTold = false;

  constructor(source: CredentialSource, settings: RefreshedCredentialsSettings) {
    this.#source = source;
    this.#settings = settings;
    this.#metrics = credentialMetrics(settings.metrics, settings);
  }

  /**
   * Gets a credential now, and from now on before it is needed, whoever asks: the metrics are about this one. Harmless
   * when called again; never throws.
   */
  keepReady(target: CredentialTarget): void {
    if (this.#isClosed || this.#kept !== undefined) return;
    if (this.#isTellingLastUse) this.#unfollow();
    this.#isTellingLastUse = false;
    let key: string;
    try {
      key = this.keyFor(target);
    } catch (error) {
      this.#tellFailure(error, false); // somebody's own source; each request will say so, too
      return;
    }
    this.#keep(target, key);
  }

  /** For one that is not kept ready: the metrics say what came of the last use. Harmless when called again. */
  tellLastUse(): void {
    if (this.#isClosed || this.#isTellingLastUse || this.#kept !== undefined) return;
    this.#isTellingLastUse = true;
    const usable = () => {
      if (this.#lastAnswer === undefined) return undefined;
      return Number(this.#lastAnswer.result === 'obtained' && this.#lastRefusal === undefined);
    };
    this.#unfollow = this.#metrics.follow({ usable, age: () => undefined, expiry: () => undefined });
  }

  /** Its source is known to fail before it was asked: it counts as one question. @param reason without a secret */
  noteFailure(reason: string): void {
    this.#note('failed', { reason });
  }

  /** Undefined where it was not refused, or what it gave was taken since. */
  get lastRefusal(): LastRefusal | undefined {
    return this.#lastRefusal;
  }

  /** Undefined where it was not asked yet. */
  get lastAnswer(): LastAnswer | undefined {
    return this.#lastAnswer;
  }

  async credentialFor(
    target: CredentialTarget,
    { signal, rejected }: CallOptions & { readonly rejected?: Credential },
  ): Promise<Credential | undefined> {
    if (rejected !== undefined) {
      this.#kept?.credential.refuse(rejected);
      this.#lastRefusal = { at: this.#settings.clock.now(), registry: target.registry };
    }
    for (let i = 0; i < maxKeyChanges; i++) {
      const key = this.keyFor(target);
      const one = this.#of(key);
      try {
        const asked =
          rejected === undefined ? one.get(target, { signal }) : one.replace(target, rejected, { signal });
        const credential = await asked;
        if (this.keyFor(target) === key) return credential;
      } catch (error) {
        if (error instanceof KeyChanged) {
          if (isSameTarget(error.target, target)) return untilAborted(error.outcome, signal);
        } else if (signal.aborted || this.keyFor(target) === key) throw error;
      }
    }
    throw this.#unavailable('its source gives it another key each time');
  }

  keyFor(target: CredentialTarget): string {
    return this.#source.keyFor?.(target) ?? `${target.registry}/${target.name ?? ''}`;
  }

  accepted(credential: Credential): void {
    this.#lastRefusal = undefined;
    for (const one of [this.#kept?.credential, ...this.#known.values()]) one?.accepted(credential);
    this.#source.accepted?.(credential);
  }

  async createRepository(target: Required<CredentialTarget>, o: CallOptions): Promise<boolean> {
    return (await this.#source.createRepository?.(target, o)) ?? false;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unfollow();
    this.#kept?.credential.close();
    for (const credential of this.#known.values()) credential.close();
    this.#flights.close();
    this.#known.clear();
  }

  #keep(target: CredentialTarget, key: string, askedAt?: number): void {
    const credential = this.#of(key);
    this.#kept = { target, key, credential };
    this.#unfollow = this.#metrics.follow(credential);
    credential.keepReady(target, askedAt);
  }

  /** What is kept has another key by now where its source says so. */
  #keepWhatIsMeant(): void {
    const kept = this.#kept;
    if (this.#isClosed || kept === undefined) return;
    const key = this.keyFor(kept.target);
    if (key === kept.key) return;
    this.#unfollow();
    kept.credential.close();
    this.#known.delete(kept.key);
    this.#kept = undefined;
    this.#keep(kept.target, key, kept.credential.askedAt);
  }

  #of(key: string): RefreshedCredential {
    if (this.#kept?.key === key) return this.#kept.credential;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const made = new RefreshedCredential({
      clock: this.#settings.clock,
      ask: (target, rejected, isAwaited) => this.#ask(key, target, { rejected, isAwaited }),
      onFailure: (error, isHeld, wait) => this.#tellFailure(error, isHeld, wait),
    });
    this.#known.set(key, made);
    return made;
  }

  /**
   * @throws RegistryError UNAVAILABLE. NotAwaited. KeyChanged: the answer must not be given to others, for whose repositories a key
   *   stands may have changed with it (a file was read again)
   */
  async #ask(key: string, target: CredentialTarget, asked: Asked): Promise<Credential | undefined> {
    const outcome = this.#askOnce(target, asked);
    const failure: unknown = await outcome.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failure instanceof NotAwaited) throw failure;
    if (this.keyFor(target) !== key) {
      if (failure !== undefined) this.#tellFailure(failure, false);
      this.#keepWhatIsMeant();
      throw new KeyChanged(target, outcome);
    }
    this.#keepWhatIsMeant();
    return outcome;
  }

  /**
   * Its own waiter never leaves: what has begun is useful to the next who asks, also where all who wait have left. A source
   * that had to wait for its turn need not begin then.
   */
  async #askOnce(target: CredentialTarget, { rejected, isAwaited }: Asked): Promise<Credential | undefined> {
    const nobody = new AbortController().signal;
    const { registry, name } = target;
    const flight = JSON.stringify([registry, name, rejected && credentialDigest(rejected)]);
    try {
      const credential = await this.#flights.run(flight, { signal: nobody }, (signal) =>
        this.#source.credentialFor(target, { signal, isAwaited, ...(rejected && { rejected }) }),
      );
      if (credential?.expiresAt !== undefined && credential.expiresAt <= this.#settings.clock.now()) {
        throw this.#unavailable('it was given one that has ended already: is the clock right?');
      }
      this.#note(credential === undefined ? 'none' : 'obtained', { expiresAt: credential?.expiresAt });
      this.#tellRecovery();
      return credential;
    } catch (error) {
      if (error instanceof NotAwaited) throw error;
      if (!this.#isClosed) this.#note('failed', { reason: describeError(error) });
      // Whatever is wrong here is ours: a client must not be told to log in again for it.
      if (error instanceof RegistryError && error.code === 'UNAVAILABLE') throw error;
      throw this.#unavailable(undefined, error);
    }
  }

  #note(
    result: FetchResult,
    { expiresAt, reason }: { readonly expiresAt?: number | undefined; readonly reason?: string },
  ): void {
    this.#metrics.fetched(result);
    this.#lastAnswer = {
      result,
      at: this.#settings.clock.now(),
      ...(expiresAt !== undefined && { expiresAt }),
      ...(reason !== undefined && { reason }),
    };
  }

  #unavailable(what: string | undefined, cause?: unknown): RegistryError {
    const reason = `${describeOwner(this.#settings)} cannot be had`;
    const retryAfter = cause instanceof RegistryError ? cause.retryAfter : undefined;
    return new RegistryError('UNAVAILABLE', {
      reason: what === undefined ? reason : `${reason}: ${what}`,
      ...(cause !== undefined && { cause }),
      ...(retryAfter !== undefined && { retryAfter }),
    });
  }

  #tellFailure(error: unknown, isHeld: boolean, wait?: number): void {
    if (this.#isClosed) return;
    const { log } = this.#settings;
    const fields = {
      ...ownerFields(this.#settings),
      error: describeError(error),
      ...(wait && { retryIn: wait / 1000 }),
    };
    if (isHeld) {
      log.warn(fields, 'a credential cannot be refreshed; the one at hand serves until its end');
    } else {
      log[this.#isTold ? 'warn' : 'error'](fields, 'a credential cannot be had');
      this.#isTold = true;
    }
  }

  #tellRecovery(): void {
    if (!this.#isTold) return;
    this.#isTold = false;
    this.#settings.log.info(ownerFields(this.#settings), 'a credential can be had again');
  }
}

function isSameTarget(one: CredentialTarget, other: CredentialTarget): boolean {
  return one.registry === other.registry && one.name === other.name;
}
