import { LRUCache } from 'lru-cache';
import type {
  CallOptions,
  Clock,
  Credential,
  CredentialSource,
  CredentialTarget,
} from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { credentialDigest } from './same-credential.js';
import { untilAborted } from './single-flight.js';

/** Milliseconds that a refused credential is left alone where there is another. */
const restTime = 5 * 60_000;
/** Milliseconds: one source that stands still must not keep the others from being asked; less where it did before. */
const patience = { most: 10_000, least: 250 } as const;
/**
 * Of what it gave last, to know whose a refused one is; and of those that were refused. A source may have one for each
 * repository: as many as are held of it.
 */
const maxRemembered = 1000;

/** One of several credentials: what its source gave, and whether it rests. */
export class CredentialPlace {
  readonly source: CredentialSource;
  /** From 1, as the configuration counts for people. */
  readonly number: number;
  /** It could not be had when it was last asked for. */
  isFailing = false;
  readonly #clock: Clock;
  /** By digest. */
  readonly #given = new LRUCache<string, true>({ max: maxRemembered });
  /** By digest: since when, in milliseconds since the epoch. */
  readonly #rests = new LRUCache<string, number>({ max: maxRemembered });
  #isToldRefused = false;

  constructor(source: CredentialSource, number: number, clock: Clock) {
    this.source = source;
    this.number = number;
    this.#clock = clock;
  }

  /**
   * @param o.isUrgent another could be used instead
   * @throws what the source throws; RegistryError UNAVAILABLE where it does not answer in time; the signal's reason
   */
  async ask(
    target: CredentialTarget,
    {
      signal,
      rejected,
      isUrgent,
    }: CallOptions & { readonly rejected?: Credential; readonly isUrgent: boolean },
  ): Promise<Credential | undefined> {
    signal.throwIfAborted();
    const limit = new AbortController();
    const time = isUrgent && this.isFailing ? patience.least : patience.most;
    const late = new RegistryError('UNAVAILABLE', { reason: `its source gave none within ${time} ms` });
    const timer = setTimeout(() => limit.abort(late), time);
    const onAbort = () => limit.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const asked = this.source.credentialFor(target, {
        signal: limit.signal,
        ...(rejected && { rejected }),
      });
      return await untilAborted(asked, limit.signal);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  given(credential: Credential): void {
    this.#given.set(credentialDigest(credential), true);
  }

  hasGiven(credential: Credential): boolean {
    return this.#given.has(credentialDigest(credential));
  }

  /** True where it was refused lately. Another one of the same source may be good. */
  restsWith(credential: Credential): boolean {
    return this.restingSince(credential) !== undefined;
  }

  /** Milliseconds since the epoch; undefined where it does not rest. */
  restingSince(credential: Credential): number | undefined {
    if (this.#rests.size === 0) return undefined; // as a rule
    const since = this.#rests.get(credentialDigest(credential));
    const now = this.#clock.now();
    return since !== undefined && since <= now && now < since + restTime ? since : undefined;
  }

  /** @returns false where it was resting already; it rests anew then */
  rest(refused: Credential): boolean {
    const isNews = !this.restsWith(refused);
    this.#rests.set(credentialDigest(refused), this.#clock.now());
    this.#isToldRefused = true;
    return isNews;
  }

  accepted(credential: Credential): void {
    this.#rests.delete(credentialDigest(credential));
  }

  /** @returns true for the first one that is given after one was refused */
  wake(): boolean {
    const wasRefused = this.#isToldRefused;
    this.#isToldRefused = false;
    return wasRefused;
  }
}
