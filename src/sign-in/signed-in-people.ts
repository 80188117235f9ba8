import { randomUUID } from 'node:crypto';
import type { CallOptions, Clock, Log, Principal, StateEntry, StateStore } from '../contracts/index.js';
import { qualifiedName } from '../contracts/index.js';
import { SingleFlight } from '../decorators/single-flight.js';
import { describeError, RegistryError } from '../errors.js';
import { type Person, personKey } from './person.js';
import type { Recheck, Rechecked } from './recheck.js';
import {
  parseSignedIn,
  principalOf,
  printSignedIn,
  type SignedInRecord,
  signedInKey,
  withPrincipal,
} from './signed-in-records.js';

export interface SignedInPeopleParts {
  readonly state: StateStore;
  readonly clock: Clock;
  readonly log: Log;
  /** How to find out a person's present groups. */
  readonly recheck: Recheck;
  readonly limits: {
    /** Milliseconds that a record outlives its sign-in: all tokens that come of it. */
    readonly life: number;
    /** Milliseconds that groups hold. */
    readonly recheck: number;
  };
}

/** Milliseconds that groups hold beyond their time where they cannot be looked up: a provider that is down for a night. */
const grace = 24 * 3_600_000;
/** Milliseconds after a failed look-up. */
const retryAfter = 30_000;
/** Milliseconds for a look-up. One that runs in another proxy for longer counts as failed. */
const lookUpTime = 60_000;
/** Milliseconds of it for asking; the rest is for storing what was answered. */
const askTime = 40_000;
/** Times that somebody else may have changed the record first. */
const maxTries = 5;

/**
 * What is known of the people who signed in, and how fresh it is. A provider that rotates refresh tokens takes each one
 * once, so look-ups of one person go one at a time, over all proxies, and are brought to their end also where nobody
 * waits any more.
 */
export class SignedInPeople {
  readonly #parts: SignedInPeopleParts;
  readonly #flights = new SingleFlight<Principal>(lookUpTime);
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(parts: SignedInPeopleParts) {
    this.#parts = parts;
  }

  /**
   * Remembers a sign-in, in place of an earlier one.
   *
   * @param refreshToken the provider's, sealed. Without one that of the earlier sign-in stays: some providers give it once
   * @returns false where groups and attributes are too many to be kept
   * @throws RegistryError UNAVAILABLE
   */
  async remember(who: Principal, refreshToken: string | undefined, o: CallOptions): Promise<boolean> {
    const { state, clock } = this.#parts;
    const now = clock.now();
    const entry = await state.get(signedInKey(who), o);
    const earlier = parseSignedIn(entry?.value, who);
    const kept = refreshToken ?? (earlier?.ended === undefined ? earlier?.refreshToken : undefined);
    const { verifier, name } = who;
    const empty = { verifier, name, groups: [], attributes: {}, signedInAt: now, checkedAt: now };
    const record = withPrincipal({ ...empty, ...(kept !== undefined && { refreshToken: kept }) }, who, now);
    const text = printSignedIn(record);
    if (text === undefined) return false;
    await state.put(signedInKey(who), text, { ...o, ttl: this.#ttl(record, entry) });
    return true;
  }

  /** True where the person's sign-in is remembered, and was not ended since. @throws RegistryError UNAVAILABLE */
  async isKnown(person: Person, o: CallOptions): Promise<boolean> {
    const record = parseSignedIn((await this.#parts.state.get(signedInKey(person), o))?.value, person);
    return record !== undefined && record.ended === undefined;
  }

  /**
   * The person as they are now, or were not long ago.
   *
   * @throws RegistryError UNAUTHORIZED where they are gone, and have to sign in again; UNAVAILABLE where it cannot be told
   */
  async present(person: Person, o: CallOptions): Promise<Principal> {
    const entry = await this.#parts.state.get(signedInKey(person), o);
    const record = this.#require(entry, person);
    if (this.#isFresh(record)) return principalOf(record);
    return this.#flights.run(personKey(person), o, () => this.#toTheEnd(person));
  }

  /** Waits for look-ups that run: what a provider rotated must be stored. */
  async close(): Promise<void> {
    this.#flights.close();
    await Promise.allSettled(this.#underWay);
  }

  /** With a signal of its own: a client that goes away must not cost the person their refresh token. */
  #toTheEnd(person: Person): Promise<Principal> {
    const lookUp = this.#lookUp(person, { signal: AbortSignal.timeout(lookUpTime) });
    this.#underWay.add(lookUp);
    const done = () => this.#underWay.delete(lookUp);
    lookUp.then(done, done);
    return lookUp;
  }

  async #lookUp(person: Person, o: CallOptions): Promise<Principal> {
    for (let tries = 0; tries < maxTries; tries++) {
      const entry = await this.#parts.state.get(signedInKey(person), o);
      const record = this.#require(entry, person);
      if (entry === undefined || this.#isFresh(record)) return principalOf(record);
      const { recheck } = this.#parts;
      if (!recheck.canBeUsed(record)) return principalOf(record);
      const claimed = recheck.isRepeatable ? { record, entry } : await this.#claim(record, entry, o);
      if (claimed === undefined) continue;
      if (typeof claimed === 'string') return this.#known(record, claimed);
      const rechecked = await recheck.run(claimed.record, { signal: AbortSignal.timeout(askTime) });
      const settled = await this.#settle(claimed.record, rechecked, claimed.entry, o);
      if (settled !== undefined) return settled;
    }
    throw new RegistryError('UNAVAILABLE', { reason: 'too many changes of one person at the same time' });
  }

  /**
   * Before a refresh token is used: so that no other proxy uses it as well, and only where the next one can be stored.
   *
   * @returns undefined where somebody else was first; a text where it cannot be: why
   */
  async #claim(
    record: SignedInRecord,
    before: StateEntry,
    o: CallOptions,
  ): Promise<{ readonly record: SignedInRecord; readonly entry: StateEntry } | string | undefined> {
    const { state, clock } = this.#parts;
    if (this.#isTried(record)) return record.attempt?.failed ?? 'another proxy looks it up just now';
    const claimed = { ...record, attempt: { id: randomUUID(), at: clock.now() } };
    const key = signedInKey(record);
    try {
      const text = JSON.stringify(claimed);
      const options = { ...o, ttl: this.#ttl(record, before) };
      if (!(await state.compareAndSet(key, before.version, text, options))) return undefined;
      const entry = await state.get(key, o);
      return entry?.value === text ? { record: claimed, entry } : undefined;
    } catch (error) {
      this.#requireUnavailable(error, o);
      return 'the state cannot be written';
    }
  }

  /**
   * @param entry as it was before the look-up
   * @returns undefined where something else was stored since: a new sign-in, a revocation
   */
  async #settle(
    record: SignedInRecord,
    { outcome, refreshToken }: Rechecked,
    entry: StateEntry,
    o: CallOptions,
  ): Promise<Principal | undefined> {
    const next = this.#after(refreshToken === undefined ? record : { ...record, refreshToken }, outcome);
    if (next !== record && !(await this.#store(next, entry, o))) return undefined;
    if (outcome.kind === 'absent') throw refused(outcome.reason);
    if (next.ended !== undefined) throw refused(next.ended);
    if (outcome.kind !== 'failed') return principalOf(next);
    const principal = qualifiedName(principalOf(record));
    this.#parts.log.warn(
      { principal, reason: outcome.reason },
      'the groups of a sign-in cannot be looked up again',
    );
    return this.#known(record, outcome.reason);
  }

  #after(record: SignedInRecord, outcome: Rechecked['outcome']): SignedInRecord {
    const now = this.#parts.clock.now();
    switch (outcome.kind) {
      case 'present': {
        const next = withPrincipal(record, outcome.who, now);
        return printSignedIn(next) === undefined
          ? ended(record, 'too many groups and attributes to keep')
          : next;
      }
      case 'unchanged':
        return withPrincipal(record, principalOf(record), now);
      case 'ended':
        return ended(record, outcome.reason);
      case 'failed':
        return record.attempt === undefined
          ? record
          : { ...record, attempt: { ...record.attempt, at: now, failed: outcome.reason } };
      case 'absent':
        return record;
    }
  }

  /** @returns false where something else was stored since; a state that cannot be written is only told in the log */
  async #store(record: SignedInRecord, before: StateEntry, o: CallOptions): Promise<boolean> {
    const principal = qualifiedName(principalOf(record));
    const { state, log } = this.#parts;
    try {
      const options = { ...o, ttl: this.#ttl(record, before) };
      const text = JSON.stringify(record);
      if (!(await state.compareAndSet(before.key, before.version, text, options))) return false;
      if (record.ended !== undefined) {
        log.info({ principal, reason: record.ended }, 'personal access tokens end until the next sign-in');
      }
    } catch (error) {
      this.#requireUnavailable(error, o);
      const fields = { principal, reason: describeError(error) };
      log.warn(fields, 'what was looked up of a person cannot be stored: they may have to sign in again');
    }
    return true;
  }

  /** What is known goes on to hold for a while. @param why it is not known better, for the log */
  #known(record: SignedInRecord, why: string): Principal {
    const age = this.#parts.clock.now() - record.checkedAt;
    if (age < this.#parts.limits.recheck + grace) return principalOf(record);
    throw new RegistryError('UNAVAILABLE', {
      reason: `the groups of ${qualifiedName(principalOf(record))} are too old, and cannot be looked up: ${why}`,
    });
  }

  /** @throws RegistryError UNAUTHORIZED */
  #require(entry: StateEntry | undefined, person: Person): SignedInRecord {
    const record = parseSignedIn(entry?.value, person);
    if (record === undefined) throw refused('whoever has this token must sign in by browser again');
    if (record.ended !== undefined) throw refused(record.ended);
    return record;
  }

  /** A clock that was set back makes nothing fresh. */
  #isFresh({ checkedAt }: SignedInRecord): boolean {
    const age = this.#parts.clock.now() - checkedAt;
    return age >= 0 && age < this.#parts.limits.recheck;
  }

  #isTried({ attempt }: SignedInRecord): boolean {
    if (attempt === undefined) return false;
    const age = this.#parts.clock.now() - attempt.at;
    return age >= 0 && age < (attempt.failed === undefined ? lookUpTime : retryAfter);
  }

  /** @param before what it takes the place of: tokens may come of it that were made while they could live longer */
  #ttl({ signedInAt }: SignedInRecord, before: StateEntry | undefined): number {
    const end = Math.max(signedInAt + this.#parts.limits.life, before?.expiresAt ?? 0);
    return Math.max(1, end - this.#parts.clock.now());
  }

  #requireUnavailable(error: unknown, { signal }: CallOptions): void {
    signal.throwIfAborted();
    if (!(error instanceof RegistryError) || error.code !== 'UNAVAILABLE') throw error;
  }
}

function ended({ refreshToken: _, attempt: __, ...record }: SignedInRecord, reason: string): SignedInRecord {
  return { ...record, ended: `${reason}; they can sign in by browser again` };
}

function refused(reason: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason });
}
