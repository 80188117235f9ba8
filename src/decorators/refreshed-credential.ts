import type { CallOptions, Clock, Credential, CredentialTarget } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { CredentialState } from './credential-metrics.js';
import { NotAwaited } from './not-awaited.js';
import { sameCredential } from './same-credential.js';
import { untilAborted } from './single-flight.js';

export interface RefreshedCredentialSettings {
  readonly clock: Clock;
  /**
   * Asks the source once, within a time limit of its own.
   *
   * @param isAwaited false where all who waited have left
   * @returns none that has ended already
   * @throws RegistryError UNAVAILABLE; NotAwaited; KeyChanged: what came of it is for this target alone
   */
  readonly ask: (
    target: CredentialTarget,
    rejected: Credential | undefined,
    isAwaited: () => boolean,
  ) => Promise<Credential | undefined>;
  /** Told of each failure to get one. @param isHeld one that still serves is at hand @param wait milliseconds until the next attempt */
  readonly onFailure: (error: unknown, isHeld: boolean, wait: number) => void;
}

/** While it was asked for a target the source began to give that one a credential of another key. */
export class KeyChanged extends Error {
  override readonly name = 'KeyChanged';
  readonly target: CredentialTarget;
  /** What came of the question: right for this target, and for no other. */
  readonly outcome: Promise<Credential | undefined>;

  constructor(target: CredentialTarget, outcome: Promise<Credential | undefined>) {
    super('the credential has another key now');
    this.target = target;
    this.outcome = outcome;
    outcome.catch(() => {}); // who asked for it may have left
  }
}

/** What the source gave last. Times are milliseconds since the epoch. */
interface Known {
  readonly credential: Credential | undefined;
  /** When this value was had for the first time. */
  readonly since: number;
  /** Given without asking until then; in the past for a credential that is asked for each time. */
  readonly heldUntil: number;
  /** From when on another is asked for before somebody must wait for it. */
  readonly refreshAt: number;
}

interface Failure {
  readonly error: unknown;
  readonly at: number;
  /** In a row. */
  readonly count: number;
  /** Milliseconds until the source is asked again although nobody waits. */
  readonly wait: number;
  /** Milliseconds until it is asked again for somebody who waits. */
  readonly refusedFor: number;
}

/** Milliseconds, all of them. Not given so close to its end, or to a tenth of its life: a request must still arrive. */
const margin = 5_000;
/** That there is none is not asked again with every request: a helper program may be behind it. */
const noneLife = 10_000;
/** Between two questions before somebody must wait, where the source gives what is to be refreshed at once. */
const pause = { least: 1_000, most: 10_000 } as const;
const backoff = { first: 1_000, most: 30_000 } as const;
/** The longest that a source's own word for how long to leave it alone is followed. */
const mostRetryAfter = 5 * 60_000;
/** Who needs one, and has none, does not wait for the whole of a long backoff. */
const mostRefusedFor = 2_000;
/** Between two questions for another credential than one that was refused. */
const replaceEvery = 5_000;
/** The longest sleep of one that is kept ready: clocks are set, and machines sleep. */
const longestSleep = 60_000;

/** The credential for one key: held as long as it lives, and replaced before its end. */
export class RefreshedCredential implements CredentialState {
  readonly #s: RefreshedCredentialSettings;
  #known: Known | undefined;
  #failure: Failure | undefined;
  /** Until it is taken, or another one is had. */
  #refused: Credential | undefined;
  #asking: Promise<Credential | undefined> | undefined;
  /** How many wait for what is asked. */
  #waiting = 0;
  #isForLater = false;
  #replacing: Promise<Credential | undefined> | undefined;
  #replacedAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(settings: RefreshedCredentialSettings) {
    this.#s = settings;
  }

  /**
   * @param target whose key this one's is
   * @throws RegistryError UNAVAILABLE; KeyChanged; the signal's reason
   */
  async get(target: CredentialTarget, o: CallOptions): Promise<Credential | undefined> {
    o.signal.throwIfAborted();
    // What is held was refused just now: nobody is helped by showing it again.
    if (this.#replacing !== undefined && this.#held() !== undefined) {
      await untilAborted(
        this.#replacing.catch(() => undefined),
        o.signal,
      );
    }
    const held = this.#held();
    if (held === undefined) {
      this.#throwRecentFailure();
      return this.#wait(target, o);
    }
    if (held.refreshAt <= this.#s.clock.now() && this.#sleep() === 0) void this.#ask(target, true);
    return held.credential;
  }

  /**
   * Another one than the refused; the same where the source has no other, or was asked just now.
   *
   * @param target whose key this one's is
   * @throws RegistryError UNAVAILABLE; KeyChanged; the signal's reason
   */
  async replace(
    target: CredentialTarget,
    rejected: Credential,
    o: CallOptions,
  ): Promise<Credential | undefined> {
    o.signal.throwIfAborted();
    if (this.#replacing === undefined) {
      const held = this.#held()?.credential;
      if (held !== undefined && !sameCredential(held, rejected)) return held; // somebody was here before
      this.#refused = rejected;
      if (held === undefined) this.#throwRecentFailure();
      else if (this.#isWithin({ at: this.#replacedAt }, replaceEvery)) return held;
      this.#replacedAt = this.#s.clock.now();
      this.#replacing = this.#fetch(target, rejected, () => true).finally(() => {
        this.#replacing = undefined;
      });
      this.#replacing.catch(() => {}); // all who wait may have left
    }
    return untilAborted(this.#replacing, o.signal);
  }

  /** Notes a refusal, where it is of the credential that was given last. */
  refuse(credential: Credential): void {
    const known = this.#known?.credential;
    if (known === undefined || !sameCredential(known, credential)) return;
    this.#refused = credential;
  }

  /** It was refused, and is good. */
  accepted(credential: Credential): void {
    if (this.#isRefused(credential)) this.#refused = undefined;
  }

  /**
   * Gets it now, and from now on before it is needed. To be called once.
   *
   * @param askedAt milliseconds since the epoch: when its source was asked last for another key
   */
  keepReady(target: CredentialTarget, askedAt = Number.NEGATIVE_INFINITY): void {
    this.#askedAt = Math.max(this.#askedAt, askedAt);
    this.#look(target);
  }

  /** Milliseconds since the epoch. */
  get askedAt(): number {
    return this.#askedAt;
  }

  usable(): number | undefined {
    const { credential } = this.#known ?? {};
    if (this.#known === undefined) return this.#failure && 0;
    if (credential === undefined || this.#isRefused(credential)) return 0;
    // One that is asked for each time cannot be had where asking fails.
    return this.#failure !== undefined && this.#held() === undefined ? 0 : Number(!this.#isOver(credential));
  }

  age(): number | undefined {
    if (this.#known?.credential === undefined) return undefined;
    return Math.max(this.#s.clock.now() - this.#known.since, 0) / 1000;
  }

  expiry(): number | undefined {
    const expiresAt = this.#known?.credential?.expiresAt;
    return expiresAt === undefined ? undefined : Math.max(expiresAt - this.#s.clock.now(), 0) / 1000;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #held(): Known | undefined {
    const known = this.#known;
    return known !== undefined && this.#s.clock.now() < known.heldUntil ? known : undefined;
  }

  #isOver({ expiresAt }: Credential): boolean {
    return expiresAt !== undefined && expiresAt <= this.#s.clock.now();
  }

  #isRefused(credential: Credential): boolean {
    const refused = this.#refused;
    return refused !== undefined && sameCredential(refused, credential);
  }

  /** False also where the clock was set back since. */
  #isWithin({ at }: { readonly at: number }, time: number): boolean {
    const now = this.#s.clock.now();
    return at <= now && now < at + time;
  }

  #throwRecentFailure(): void {
    const failure = this.#failure;
    if (failure !== undefined && this.#isWithin(failure, failure.refusedFor)) throw failure.error;
  }

  async #wait(target: CredentialTarget, { signal }: CallOptions): Promise<Credential | undefined> {
    this.#waiting++;
    try {
      return await untilAborted(this.#ask(target), signal).catch((error: unknown) => {
        // It was given up in the moment in which this one came.
        if (error instanceof NotAwaited) return untilAborted(this.#ask(target), signal);
        throw error;
      });
    } finally {
      this.#waiting--;
    }
  }

  /** Once for all who need one at the same moment. @param isForLater whether it is useful although nobody waits */
  #ask(target: CredentialTarget, isForLater = false): Promise<Credential | undefined> {
    if (isForLater) this.#isForLater = true;
    const isAwaited = () => this.#isForLater || this.#waiting > 0;
    this.#asking ??= this.#fetch(target, undefined, isAwaited).finally(() => {
      this.#asking = undefined;
      this.#isForLater = false;
    });
    this.#asking.catch(() => {}); // all who wait may have left
    return this.#asking;
  }

  async #fetch(
    target: CredentialTarget,
    rejected: Credential | undefined,
    isAwaited: () => boolean,
  ): Promise<Credential | undefined> {
    this.#askedAt = this.#s.clock.now();
    try {
      const credential = await this.#s.ask(target, rejected, isAwaited);
      this.#failure = undefined;
      return this.#take(credential);
    } catch (error) {
      // Nothing is known of this key by what another has, or by what was not begun.
      if (!(error instanceof KeyChanged || error instanceof NotAwaited)) this.#fail(error);
      throw error;
    }
  }

  #take(credential: Credential | undefined): Credential | undefined {
    const before = this.#known?.credential;
    const held = this.#held()?.credential;
    // An answer that was under way since before the refusal must not bring back what was refused.
    if (
      credential !== undefined &&
      held !== undefined &&
      this.#isRefused(credential) &&
      !this.#isRefused(held)
    ) {
      return held;
    }
    const now = this.#s.clock.now();
    const isSame = credential !== undefined && before !== undefined && sameCredential(credential, before);
    const since = isSame && this.#known !== undefined ? this.#known.since : now;
    this.#known = { credential, since, ...timesOf(credential, now) };
    return credential;
  }

  #fail(error: unknown): void {
    const count = (this.#failure?.count ?? 0) + 1;
    const growing = Math.min(backoff.first * 2 ** (count - 1), backoff.most);
    const wanted = error instanceof RegistryError ? (error.retryAfter ?? 0) * 1000 : 0;
    const least = Math.min(wanted, mostRetryAfter);
    const wait = Math.max(growing, least);
    const refusedFor = Math.max(Math.min(growing, mostRefusedFor), least);
    this.#failure = { error, at: this.#s.clock.now(), count, wait, refusedFor };
    this.#s.onFailure(error, this.#held() !== undefined, wait);
  }

  /** Asks where it is time to, and looks again later. */
  #look(target: CredentialTarget): void {
    const again = () => {
      if (this.#isClosed) return;
      this.#timer = setTimeout(() => this.#look(target), Math.min(this.#sleep(), longestSleep)).unref();
    };
    if (this.#sleep() > 0) again();
    else this.#ask(target, true).then(again, again);
  }

  /** Milliseconds until the source is to be asked although nobody waits. */
  #sleep(): number {
    return Math.max(this.#due() - this.#s.clock.now(), 0);
  }

  /** When that is, in milliseconds since the epoch; whatever it gave, it is left alone for a moment. */
  #due(): number {
    const now = this.#s.clock.now();
    const failure = this.#failure;
    if (failure !== undefined && failure.at <= now) return failure.at + failure.wait;
    const soonest = this.#askedAt <= now ? this.#askedAt + pause.least : now;
    return Math.max(this.#known?.refreshAt ?? now, soonest);
  }
}

function timesOf(credential: Credential | undefined, now: number): Pick<Known, 'heldUntil' | 'refreshAt'> {
  const { expiresAt, refreshAt } = credential ?? {};
  if (expiresAt === undefined && refreshAt === undefined) {
    const heldUntil = credential === undefined ? now + noneLife : now;
    return { heldUntil, refreshAt: now + longestSleep };
  }
  const life = expiresAt === undefined ? Number.POSITIVE_INFINITY : expiresAt - now;
  const heldUntil = now + life - Math.min(margin, life / 10);
  const soonest = now + Math.min(Math.max(life / 4, pause.least), pause.most);
  return { heldUntil, refreshAt: Math.min(Math.max(refreshAt ?? now + life / 2, soonest), heldUntil) };
}
