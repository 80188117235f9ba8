import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { CallOptions, Clock, Principal, StateStore, Verifier } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { Secret } from '../secret.js';

export interface RefreshTokenLimits {
  /** Milliseconds since the last use. */
  readonly idle: number;
  /** Milliseconds since the login. */
  readonly absolute: number;
}

const prefix = 'drp_refresh_';
const grammar = /^drp_refresh_[A-Za-z0-9_-]{43}$/;
const recordSchema = z.object({
  verifier: z.string(),
  name: z.string(),
  service: z.string(),
  createdAt: z.number(),
  usedAt: z.number(),
});

/**
 * Refresh tokens (distribution `docs/content/spec/auth/oauth.md`): opaque, kept as SHA-256, used again and again, for
 * docker keeps the first one it gets. The principal is looked up anew at each use.
 */
export class RefreshTokens {
  readonly #state: StateStore;
  readonly #verifier: Verifier;
  readonly #clock: Clock;
  readonly #limits: RefreshTokenLimits;

  constructor(state: StateStore, verifier: Verifier, clock: Clock, limits: RefreshTokenLimits) {
    this.#state = state;
    this.#verifier = verifier;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** @returns undefined for machines, for anonymous, and where the verifier cannot look the principal up later */
  async issue(who: Principal, service: string, o: CallOptions): Promise<Secret | undefined> {
    if (who.kind !== 'human' || (await this.#verifier.recheck?.(who, o)) === undefined) return undefined;
    const token = prefix + randomBytes(32).toString('base64url');
    const now = this.#clock.now();
    const record = { verifier: who.verifier, name: who.name, service, createdAt: now, usedAt: now };
    await this.#state.put(keyOf(token), JSON.stringify(record), { ...o, ttl: this.#ttl(record) });
    return new Secret(token);
  }

  /** @throws RegistryError UNAUTHORIZED where it is unknown, expired, another service's, or its principal is gone */
  async redeem(token: Secret, service: string, o: CallOptions): Promise<Principal> {
    const text = token.reveal();
    const key = keyOf(text);
    const entry = grammar.test(text) ? await this.#state.get(key, o) : undefined;
    if (entry === undefined) throw refused('an unknown or expired refresh token');
    const record = recordSchema.parse(JSON.parse(entry.value));
    if (record.service !== service) throw refused('a refresh token of another service');
    const known: Principal = {
      verifier: record.verifier,
      name: record.name,
      kind: 'human',
      groups: [],
      attributes: {},
    };
    const principal = await this.#verifier.recheck?.(known, o);
    if (principal === undefined) {
      await this.#state.delete(key, o);
      throw refused('the principal of this refresh token is gone');
    }
    const now = this.#clock.now();
    // A write a request would be too many: the idle time need not be exact.
    if (now - record.usedAt > this.#limits.idle / 20) {
      const used = { ...record, usedAt: now };
      // Only where nobody revoked it meanwhile: that must not bring it back.
      await this.#state.compareAndSet(key, entry.version, JSON.stringify(used), {
        ...o,
        ttl: this.#ttl(used),
      });
    }
    return principal;
  }

  /** Milliseconds until it ends where it is not used again. */
  #ttl(record: z.output<typeof recordSchema>): number {
    const left = record.createdAt + this.#limits.absolute - this.#clock.now();
    return Math.max(1, Math.min(left, this.#limits.idle));
  }
}

function keyOf(token: string): string {
  return `refresh-token/${createHash('sha256').update(token).digest('hex')}`;
}

function refused(reason: string): RegistryError {
  return new RegistryError('UNAUTHORIZED', { reason });
}
