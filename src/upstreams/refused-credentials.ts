import { LRUCache } from 'lru-cache';
import type {
  CallOptions,
  Clock,
  Credential,
  CredentialSource,
  CredentialTarget,
} from '../contracts/index.js';
import { credentialDigest, sameCredential } from '../decorators/same-credential.js';
import { untilAborted } from '../decorators/single-flight.js';
import { RegistryError } from '../errors.js';

/** For the log line of a refusal, which names the upstream. */
export const lookAtCredentials =
  'are the `credentials` of this upstream right, and still good? `check --connect` tries each of them';

/** That one request shows: whoever has more of them refused has no good one. */
export const maxCredentials = 8;

/** True where it is worth showing after these were refused. */
export function isAnother(next: Credential | undefined, refused: readonly Credential[]): next is Credential {
  if (next === undefined || refused.length >= maxCredentials) return false;
  return !refused.some((one) => sameCredential(one, next));
}

/** All credentials there are were refused a moment ago, to other requests: the registry was not asked again. */
export class CredentialsPaused extends RegistryError {
  /** @param retryAfter seconds */
  constructor(retryAfter: number) {
    const reason = `the upstream refused our credential: it is shown again in ${retryAfter} s, another one at once`;
    super('UNAVAILABLE', { reason, retryAfter });
  }
}

interface Refusal {
  /** Milliseconds since the epoch, as `until`. One that lies in the future is from before the clock was set back. */
  readonly since: number;
  readonly until: number;
  /** In a row. */
  readonly count: number;
  /** Somebody shows it again now. */
  readonly isTried: boolean;
}

/** Milliseconds that a refused credential is not shown, first and at most. */
const pause = { first: 5_000, most: 60_000 } as const;
/** Milliseconds until another request tries it, where the one that did was left or had no answer. */
const releasedPause = 1_000;
const maxRemembered = 1000;

/** Milliseconds that requests wait for what another one finds out. */
const longestTrial = 5_000;

/** Refused credentials that are shown again at this moment, by digest, and who waits for what comes of it. */
class Trials {
  readonly #waiting = new Map<string, (() => void)[]>();

  begin(digest: string): void {
    if (!this.#waiting.has(digest)) this.#waiting.set(digest, []);
  }

  end(digest: string): void {
    for (const wake of this.#waiting.get(digest) ?? []) wake();
    this.#waiting.delete(digest);
  }

  /** @throws the signal's reason */
  async wait(digest: string, signal: AbortSignal): Promise<void> {
    const waiting = this.#waiting.get(digest);
    if (waiting === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<void>((resolve) => {
      waiting.push(resolve);
      timer = setTimeout(resolve, longestTrial);
    });
    await untilAborted(over, signal).finally(() => clearTimeout(timer));
  }
}

/**
 * What an upstream refused. Registries lock accounts after a few wrong passwords, and a refused one is as wrong with the
 * next request: it is shown again by one request alone, after pauses that grow, until it is taken.
 */
export class RefusedCredentials {
  readonly #clock: Clock;
  /** By digest. */
  readonly #refusals = new LRUCache<string, Refusal>({ max: maxRemembered });
  readonly #trials = new Trials();
  readonly #onAccepted: (credential: Credential) => void;
  /** The one that was taken last. */
  #taken: Credential | undefined;

  /** @param onAccepted told of one that is taken after it was refused */
  constructor(clock: Clock, onAccepted: (credential: Credential) => void = () => {}) {
    this.#clock = clock;
    this.#onAccepted = onAccepted;
  }

  /**
   * A credential that may be shown now.
   *
   * @param refused to this request already. Where the source gives one of these it is returned as it is
   * @returns undefined where the source has none
   * @throws CredentialsPaused; what the source throws
   */
  async choose(
    source: CredentialSource,
    target: CredentialTarget,
    { signal, rejected }: CallOptions & { readonly rejected?: Credential },
    refused: readonly Credential[] = [],
  ): Promise<Credential | undefined> {
    let credential = await source.credentialFor(target, { signal, ...(rejected && { rejected }) });
    const paused: Credential[] = [];
    let soonest = Number.POSITIVE_INFINITY;
    for (;;) {
      const isNew = isAnother(credential, [...refused, ...paused]);
      if (!isNew && paused.length > 0) {
        // Of several one may have come too early and be good by now: while a password is changed nobody is to notice.
        if (paused.length + refused.length > 1) return paused[0];
        throw new CredentialsPaused(Math.ceil(soonest / 1000));
      }
      if (!isNew || credential === undefined) return credential;
      await this.#endOfTrial(credential, signal);
      const wait = this.#tryAgain(credential);
      if (wait === 0) return credential;
      soonest = Math.min(soonest, wait);
      paused.push(credential);
      // The source may have another by now: a file that was changed, or one that may be used instead.
      credential = await source.credentialFor(target, { signal, rejected: credential });
    }
  }

  /** True where it was refused, and not taken since. */
  has(credential: Credential): boolean {
    return this.#of(credential) !== undefined;
  }

  /** True where another request has had it refused just now. */
  isPaused(credential: Credential): boolean {
    const known = this.#of(credential);
    return known !== undefined && !known.isTried && this.#waitOf(known) > 0;
  }

  /** @returns false where that is known: requests that were under way together are refused together */
  refuse(credential: Credential): boolean {
    if (this.isPaused(credential)) return false;
    if (this.#taken !== undefined && sameCredential(this.#taken, credential)) {
      // A password was changed at the registry: one that was refused because it came too early may be good now.
      this.#taken = undefined;
      for (const [digest, refusal] of [...this.#refusals]) {
        this.#refusals.set(digest, { ...refusal, until: refusal.since });
      }
    }
    this.#pause(credential, (this.#of(credential)?.count ?? 0) + 1, false);
    return true;
  }

  accept(credential: Credential): void {
    if (this.#taken === undefined || !sameCredential(this.#taken, credential)) this.#taken = credential;
    if (this.#refusals.size === 0) return;
    const digest = credentialDigest(credential);
    if (this.#refusals.delete(digest)) this.#onAccepted(credential);
    this.#trials.end(digest);
  }

  /** Who was to show it again found out nothing: after a moment another may. Harmless for any other credential. */
  release(credential: Credential): void {
    const known = this.#of(credential);
    if (known?.isTried !== true) return;
    const since = this.#clock.now();
    const until = since + releasedPause;
    const digest = credentialDigest(credential);
    this.#refusals.set(digest, { ...known, since, until, isTried: false });
    this.#trials.end(digest);
  }

  /** @returns milliseconds until it may be shown; 0: now, and by nobody else meanwhile */
  #tryAgain(credential: Credential): number {
    const known = this.#of(credential);
    if (known === undefined) return 0;
    const wait = this.#waitOf(known);
    if (wait === 0) this.#pause(credential, known.count, true);
    return wait;
  }

  #pause(credential: Credential, count: number, isTried: boolean): void {
    const since = this.#clock.now();
    const until = since + Math.min(pause.first * 2 ** (count - 1), pause.most);
    const digest = credentialDigest(credential);
    this.#refusals.set(digest, { since, until, count, isTried });
    if (isTried) this.#trials.begin(digest);
    else this.#trials.end(digest);
  }

  /** Somebody shows it at this moment: it is soon known what it is worth. */
  async #endOfTrial(credential: Credential, signal: AbortSignal): Promise<void> {
    if (this.#of(credential)?.isTried !== true) return;
    await this.#trials.wait(credentialDigest(credential), signal);
  }

  #waitOf({ since, until }: Refusal): number {
    const now = this.#clock.now();
    return since <= now ? Math.max(until - now, 0) : 0;
  }

  #of(credential: Credential): Refusal | undefined {
    return this.#refusals.size === 0 ? undefined : this.#refusals.get(credentialDigest(credential));
  }
}
