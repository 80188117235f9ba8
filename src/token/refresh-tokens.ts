import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { CallOptions, Clock, Principal, StateStore, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { hashOf } from '../revocation/hash-of.js';
import { Revocations } from '../revocation/revocations.js';
import { Secret } from '../secret.js';
import { parseRecord, type RefreshTokenRecord, recordKey } from './refresh-token-records.js';

export interface RefreshTokenLimits {
  /** Milliseconds since the last use. */
  readonly idle: number;
  /** Milliseconds since the login. */
  readonly absolute: number;
}

const prefix = 'drp_refresh_';
const grammar = /^drp_refresh_[A-Za-z0-9_-]{43}$/;
/** Of one principal for one service; a login beyond them ends the oldest. */
const maxTokens = 20;
/** Logins of one principal at the same moment that may get ahead of this one. */
const maxTries = 50;

/** Keys of a principal's tokens, the oldest first. Some may have ended. */
const indexSchema = z.array(z.string());

/**
 * Refresh tokens (distribution `docs/content/spec/auth/oauth.md`): opaque, kept as SHA-256, used again and again, for
 * docker keeps the first one it gets. The principal is looked up anew at each use. An index for each principal and
 * service bounds their number.
 */
export class RefreshTokens {
  readonly #state: StateStore;
  readonly #verifier: Verifier;
  readonly #clock: Clock;
  readonly #limits: RefreshTokenLimits;
  readonly #revocations: Revocations;

  constructor(state: StateStore, verifier: Verifier, clock: Clock, limits: RefreshTokenLimits) {
    this.#state = state;
    this.#verifier = verifier;
    this.#clock = clock;
    this.#limits = limits;
    this.#revocations = new Revocations(state);
  }

  /**
   * @returns undefined for machines, for anonymous, where the verifier cannot look the principal up later, and where
   *   the password was changed since it was verified
   * @throws RegistryError UNAVAILABLE where it cannot be stored
   */
  async issue(who: Principal, service: string, o: CallOptions): Promise<Secret | undefined> {
    if (who.kind !== 'human') return undefined;
    const present = await this.#verifier.recheck?.(who, o);
    if (present === undefined || present.credentialVersion !== who.credentialVersion) return undefined;
    const { verifier, name, credentialVersion } = who;
    const token = prefix + randomBytes(32).toString('base64url');
    const now = this.#clock.now();
    const record = {
      ...{ verifier, name, service, createdAt: now, usedAt: now },
      ...(credentialVersion !== undefined && { credentialVersion }),
    };
    // The index first: a token that is in no index would not be counted.
    const dropped = await this.#enter(recordKey(token), indexKey(record), o);
    await this.#state.put(recordKey(token), JSON.stringify(record), { ...o, ttl: this.#ttl(record) });
    for (const key of dropped) await this.#state.delete(key, o);
    return new Secret(token);
  }

  /**
   * @throws RegistryError UNAUTHORIZED where it is unknown, expired, revoked, another service's, or its principal is
   *   gone
   */
  async redeem(token: Secret, service: string, o: CallOptions): Promise<Principal> {
    const text = token.reveal();
    const key = recordKey(text);
    const entry = grammar.test(text) ? await this.#state.get(key, o) : undefined;
    if (entry === undefined) throw refused('an unknown or expired refresh token');
    const record = parseRecord(entry.value);
    if (record === undefined) throw refused('a refresh token whose record cannot be read');
    if (await this.#revocations.isRevoked({ ...record, key }, o)) {
      // A state that cannot be written must not make an outage of it.
      await this.#state.delete(key, o).catch(() => o.signal.throwIfAborted());
      throw refused('a refresh token that was revoked');
    }
    if (record.service !== service) throw refused('a refresh token of another service');
    const known: Principal = {
      verifier: record.verifier,
      name: record.name,
      kind: 'human',
      groups: [],
      attributes: {},
    };
    const principal = await this.#verifier.recheck?.(known, o);
    // It stays until it expires: a users file that is empty for a moment must not end everybody's login.
    if (principal === undefined) throw refused('the principal of this refresh token is gone');
    if (principal.credentialVersion !== record.credentialVersion) {
      await this.#state.delete(key, o);
      throw refused('the password was changed since this refresh token was issued');
    }
    const now = this.#clock.now();
    // A write a request would be too many: the idle time need not be exact.
    if (now - record.usedAt > this.#limits.idle / 20) {
      const used = { ...record, usedAt: now };
      const options = { ...o, ttl: this.#ttl(used) };
      // Only where nobody revoked it meanwhile: that must not bring it back.
      await this.#state
        .compareAndSet(key, entry.version, JSON.stringify(used), options)
        .catch((error: unknown) => this.#passOver(error, o));
    }
    return principal;
  }

  /** A use that cannot be noted, on a full disk, must not stop pulls: it then counts as not used. */
  #passOver(error: unknown, { signal }: CallOptions): void {
    signal.throwIfAborted();
    if (!(error instanceof RegistryError) || error.code !== 'UNAVAILABLE') throw error;
  }

  /** @returns the keys of those that have to go */
  async #enter(key: string, index: string, o: CallOptions): Promise<readonly string[]> {
    for (let tries = 0; tries < maxTries; tries++) {
      const entry = await this.#state.get(index, o);
      const keys = [...(entry === undefined ? [] : indexSchema.parse(JSON.parse(entry.value))), key];
      const text = JSON.stringify(keys.slice(-maxTokens));
      const ttl = this.#limits.absolute;
      if (await this.#state.compareAndSet(index, entry?.version, text, { ...o, ttl })) {
        return keys.slice(0, -maxTokens);
      }
    }
    throw new RegistryError('UNAVAILABLE', { reason: 'too many logins of one principal at the same time' });
  }

  /** Milliseconds until it ends where it is not used again. */
  #ttl(record: RefreshTokenRecord): number {
    const left = record.createdAt + this.#limits.absolute - this.#clock.now();
    return Math.max(1, Math.min(left, this.#limits.idle));
  }
}

function indexKey({ verifier, name, service }: { verifier: string; name: string; service: string }): string {
  return `refresh-tokens-of/${hashOf(JSON.stringify([verifier, name, service]))}`;
}

function refused(reason: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason });
}
