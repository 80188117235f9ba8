import { randomBytes } from 'node:crypto';
import type { CallOptions, Clock, StateStore } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Revocations } from '../revocation/revocations.js';
import { Secret } from '../secret.js';
import type { Person } from './person.js';
import type { IssuedPersonalToken, PersonalAccessToken } from './personal-access-token.js';
import {
  endOf,
  indexKey,
  type PersonalTokenRecord,
  parseIndex,
  parseRecord,
  printIndex,
  recordKey,
  shortId,
} from './personal-token-records.js';
import { SignInError } from './sign-in-error.js';

export interface PersonalTokenLimits {
  /** Milliseconds: the longest life, also of tokens that were made while it was longer. */
  readonly maxLife: number;
  /** So many a person may have at the same time. */
  readonly perPrincipal: number;
}

/** What a new token is asked to be. */
export interface WantedToken {
  /** For its owner: 1 to 64 printable characters. */
  readonly label: string;
  /** Milliseconds. */
  readonly life: number;
}

/** A token that is good, with the version of its record. */
export interface FoundToken {
  readonly key: string;
  readonly version: string;
  readonly record: PersonalTokenRecord;
  /** Milliseconds since the epoch: by the longest life there is now. The record has the end it was made with. */
  readonly expiresAt: number;
}

/** What each begins with: scanners of leaked secrets look for it. */
export const tokenPrefix = 'drp_pat_';
const grammar = /^drp_pat_[A-Za-z0-9_-]{43}$/;
const labelGrammar = /^[^\p{C}\p{Zl}\p{Zp}]{1,64}$/u;
/** Milliseconds. */
const minLife = 60_000;
const day = 86_400_000;
/** Milliseconds: a write a request would be too many. */
const usePrecision = 3_600_000;
/** Changes of one person's tokens at the same moment that may get ahead of this one. */
const maxTries = 50;

/**
 * Personal access tokens: opaque, kept as SHA-256, revocable one by one. An index for each person bounds their number.
 * What a token stands for is not kept with it.
 */
export class PersonalAccessTokens {
  readonly #state: StateStore;
  readonly #clock: Clock;
  readonly #limits: PersonalTokenLimits;
  readonly #revocations: Revocations;

  constructor(state: StateStore, clock: Clock, limits: PersonalTokenLimits) {
    this.#state = state;
    this.#clock = clock;
    this.#limits = limits;
    this.#revocations = new Revocations(state);
  }

  /**
   * @throws SignInError `invalid` where the label or the life cannot be, or the person has all they may have
   * @throws RegistryError UNAVAILABLE, as every call here does where the state cannot be read or written
   */
  async create(person: Person, { label, life }: WantedToken, o: CallOptions): Promise<IssuedPersonalToken> {
    const record = this.#recordOf(person, label.trim(), life);
    this.#requireRoom(await this.#living(person, o));
    const token = tokenPrefix + randomBytes(32).toString('base64url');
    const key = recordKey(token);
    // The record first: where the index has a key without one that token has ended. Who reads of a failure has no token.
    await this.#state.put(key, JSON.stringify(record), { ...o, ttl: life });
    try {
      await this.#enter(person, key, record.expiresAt, o);
    } catch (error) {
      await this.#state.delete(key, o).catch(() => undefined);
      throw error;
    }
    return { token: new Secret(token), details: detailsOf(key, record) };
  }

  /** Those that are good, the newest first. */
  async list(person: Person, o: CallOptions): Promise<readonly PersonalAccessToken[]> {
    const living = await this.#living(person, o);
    return living
      .map(({ key, record, expiresAt }) => detailsOf(key, { ...record, expiresAt }))
      .sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
  }

  /** @returns false where the person has no such token */
  async revoke(person: Person, id: string, o: CallOptions): Promise<boolean> {
    const found = (await this.#living(person, o)).filter(({ key }) => shortId(key) === id);
    // Enough without a revocation beside it, which would be left of each token: `noteUse` writes none back.
    for (const { key } of found) await this.#state.delete(key, o);
    return found.length > 0;
  }

  /** @throws RegistryError UNAUTHORIZED where it is unknown, expired or revoked */
  async find(token: Secret, o: CallOptions): Promise<FoundToken> {
    const text = token.reveal();
    const key = recordKey(text);
    const entry = grammar.test(text) ? await this.#state.get(key, o) : undefined;
    if (entry === undefined) throw refused('an unknown, expired or revoked personal access token');
    const record = parseRecord(entry.value);
    if (record === undefined) throw refused('a personal access token whose record cannot be read');
    const expiresAt = endOf(record, this.#limits.maxLife);
    if (expiresAt <= this.#clock.now()) throw refused('a personal access token that has expired');
    if (await this.#revocations.isRevoked({ ...record, key }, o)) {
      // A state that cannot be written must not make an outage of it.
      await this.#state.delete(key, o).catch(() => o.signal.throwIfAborted());
      throw refused('a personal access token that was revoked');
    }
    return { key, version: entry.version, record, expiresAt };
  }

  /** To an hour. A use that cannot be noted, on a full disk, must not stop pulls: it then counts as not used. */
  async noteUse({ key, version, record }: FoundToken, o: CallOptions): Promise<void> {
    const now = this.#clock.now();
    if (now - (record.usedAt ?? Number.NEGATIVE_INFINITY) < usePrecision) return;
    const options = { ...o, ttl: Math.max(1, record.expiresAt - now) };
    try {
      // Only where nobody revoked it meanwhile: that must not bring it back.
      await this.#state.compareAndSet(key, version, JSON.stringify({ ...record, usedAt: now }), options);
    } catch (error) {
      o.signal.throwIfAborted();
      if (!(error instanceof RegistryError) || error.code !== 'UNAVAILABLE') throw error;
    }
  }

  #recordOf({ verifier, name }: Person, label: string, life: number): PersonalTokenRecord {
    if (!labelGrammar.test(label)) {
      throw invalid('A token needs a label of 1 to 64 printable characters.', 'not a label');
    }
    const { maxLife } = this.#limits;
    if (!Number.isFinite(life) || life < minLife || life > maxLife) {
      const longest = maxLife < day ? 'less than a day' : `${Math.floor(maxLife / day)} days`;
      throw invalid(`A token can live from one minute to ${longest}.`, `a life of ${life} ms`);
    }
    const createdAt = this.#clock.now();
    return { verifier, name, label, createdAt, expiresAt: createdAt + life };
  }

  async #enter(person: Person, key: string, expiresAt: number, o: CallOptions): Promise<void> {
    const index = indexKey(person);
    for (let tries = 0; tries < maxTries; tries++) {
      const entry = await this.#state.get(index, o);
      const kept = await this.#keptOf(person, parseIndex(entry?.value), o);
      const living = kept.filter((one) => this.#isLiving(one));
      this.#requireRoom(living);
      // Where tokens may live longer again, none is to come back that its owner does not see.
      for (const one of kept) if (!living.includes(one)) await this.#state.delete(one.key, o);
      const keys = [...living.map((one) => one.key), key];
      // As long as the last of its records.
      const end = Math.max(expiresAt, ...living.map((one) => one.record.expiresAt));
      const options = { ...o, ttl: Math.max(1, end - this.#clock.now()) };
      if (await this.#state.compareAndSet(index, entry?.version, printIndex(keys), options)) return;
    }
    throw new RegistryError('UNAVAILABLE', { reason: 'too many new tokens of one person at the same time' });
  }

  #requireRoom(living: readonly FoundToken[]): void {
    const { perPrincipal } = this.#limits;
    if (living.length < perPrincipal) return;
    throw invalid(
      `You have ${living.length} tokens, and more than ${perPrincipal} are not allowed. Revoke one first.`,
      `it would be more than ${perPrincipal} personal access tokens`,
    );
  }

  async #living(person: Person, o: CallOptions): Promise<readonly FoundToken[]> {
    const index = await this.#state.get(indexKey(person), o);
    const kept = await this.#keptOf(person, parseIndex(index?.value), o);
    return kept.filter((one) => this.#isLiving(one));
  }

  #isLiving({ expiresAt }: FoundToken): boolean {
    return expiresAt > this.#clock.now();
  }

  /** Also those that live no longer because the longest life is shorter now. */
  async #keptOf(person: Person, keys: readonly string[], o: CallOptions): Promise<readonly FoundToken[]> {
    const found = await Promise.all(
      keys.map(async (key): Promise<FoundToken | undefined> => {
        const entry = await this.#state.get(key, o);
        const record = entry && parseRecord(entry.value);
        if (entry === undefined || record === undefined || record.expiresAt <= this.#clock.now())
          return undefined;
        if (record.verifier !== person.verifier || record.name !== person.name) return undefined;
        if (await this.#revocations.isRevoked({ ...record, key }, o)) return undefined;
        return { key, version: entry.version, record, expiresAt: endOf(record, this.#limits.maxLife) };
      }),
    );
    return found.filter((one) => one !== undefined);
  }
}

/** For showing it to its owner. */
function detailsOf(
  key: string,
  { label, createdAt, expiresAt, usedAt }: PersonalTokenRecord,
): PersonalAccessToken {
  return { id: shortId(key), label, createdAt, expiresAt, ...(usedAt !== undefined && { usedAt }) };
}

function invalid(message: string, reason: string): SignInError {
  return new SignInError('invalid', message, reason);
}

function refused(reason: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason });
}
