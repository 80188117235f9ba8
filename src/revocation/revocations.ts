import { z } from 'zod';
import type { CallOptions, Principal, StateEntry, StateStore } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { hashOf } from './hash-of.js';

const revocationSchema = z.object({ at: z.number() });

/** A long-lived token as far as a revocation can speak of it. */
export interface RevocableToken {
  /** The key its record is kept under. */
  readonly key: string;
  readonly verifier: string;
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

/** How often a revocation that vanished is written again. */
const maxTries = 5;

/**
 * Revocations that are kept beside the tokens they end. Deleting a token's record is not enough: a proxy that is just
 * noting its use would write it back. So the revocation stays for as long as the token could have lived.
 */
export class Revocations {
  readonly #state: StateStore;

  constructor(state: StateStore) {
    this.#state = state;
  }

  /**
   * Ends all tokens of a principal that were issued until then.
   *
   * @param at milliseconds since the epoch; tokens of the same millisecond end too
   * @param ttl milliseconds that the longest-lived of them could live on
   */
  async revokePrincipal(
    who: Pick<Principal, 'verifier' | 'name'>,
    at: number,
    ttl: number,
    o: CallOptions,
  ): Promise<void> {
    const key = principalKey(who);
    const entry = await this.#state.get(key, o);
    const earlier = entry === undefined ? at : revokedUntil(entry);
    // It may have been for tokens that live longer.
    const left = (entry?.expiresAt ?? at) - at;
    await this.#write(key, Math.max(at, earlier), Math.max(ttl, left), o);
  }

  /** @param ttl milliseconds that it could live on */
  async revokeToken(tokenKey: string, at: number, ttl: number, o: CallOptions): Promise<void> {
    await this.#write(revokedTokenKey(tokenKey), at, ttl, o);
  }

  /** @throws RegistryError UNAVAILABLE where it cannot be told */
  async isRevoked(token: RevocableToken, o: CallOptions): Promise<boolean> {
    const [until, itself] = await Promise.all([
      this.#read(principalKey(token), o),
      this.#read(revokedTokenKey(token.key), o),
    ]);
    return itself !== undefined || (until !== undefined && token.createdAt <= until);
  }

  /** A proxy that sweeps may delete it for an expired one that had its place: so it looks whether it is there. */
  async #write(key: string, at: number, ttl: number, o: CallOptions): Promise<void> {
    for (let tries = 0; tries < maxTries; tries++) {
      await this.#state.put(key, JSON.stringify({ at }), { ...o, ttl });
      if ((await this.#read(key, o)) !== undefined) return;
    }
    throw new RegistryError('UNAVAILABLE', { reason: 'the revocation is gone as soon as it is written' });
  }

  async #read(key: string, o: CallOptions): Promise<number | undefined> {
    const entry = await this.#state.get(key, o);
    return entry && revokedUntil(entry);
  }
}

/** @throws RegistryError UNAVAILABLE */
function revokedUntil({ key, value }: StateEntry): number {
  try {
    return revocationSchema.parse(JSON.parse(value)).at;
  } catch (cause) {
    // Neither "revoked", which nobody could end, nor "not revoked".
    throw new RegistryError('UNAVAILABLE', { reason: `cannot use the state entry ${key}`, cause });
  }
}

function principalKey({ verifier, name }: Pick<Principal, 'verifier' | 'name'>): string {
  return `revoked-principal/${hashOf(JSON.stringify([verifier, name]))}`;
}

function revokedTokenKey(key: string): string {
  return `revoked-token/${hashOf(key)}`;
}
