import type { CallOptions, Clock, Principal, StateStore } from '../contracts/index.js';
import { Revocations } from '../revocation/revocations.js';
import { parseRecord, recordPrefix, shortId } from './refresh-token-records.js';
import type { RefreshTokenLimits } from './refresh-tokens.js';

/** A refresh token that is good, as far as the state tells. Times are milliseconds since the epoch. */
export interface ListedRefreshToken {
  /** For people, and to revoke it by; no token can be made from it. */
  readonly id: string;
  readonly verifier: string;
  readonly name: string;
  readonly service: string;
  readonly createdAt: number;
  /** To a twentieth of the idle time. */
  readonly usedAt: number;
  /** Where it is not used again. */
  readonly expiresAt?: number;
}

export interface RefreshTokenList {
  /** By principal, the oldest first. */
  readonly tokens: readonly ListedRefreshToken[];
  /** Ids of records that cannot be read: they are good for nothing. */
  readonly unreadable: readonly string[];
}

type KeyedToken = ListedRefreshToken & { readonly key: string };

/** Lists and revokes refresh tokens, beside the proxy that issues and redeems them: it needs no compareAndSet. */
export class RefreshTokensAdministration {
  readonly #state: StateStore;
  readonly #clock: Clock;
  readonly #limits: RefreshTokenLimits;
  readonly #revocations: Revocations;

  constructor(state: StateStore, clock: Clock, limits: RefreshTokenLimits) {
    this.#state = state;
    this.#clock = clock;
    this.#limits = limits;
    this.#revocations = new Revocations(state);
  }

  /** @throws RegistryError UNAVAILABLE, as every call here does where the state cannot be read or written */
  async list(o: CallOptions): Promise<RefreshTokenList> {
    const { tokens, unreadable } = await this.#read(o);
    return { tokens: tokens.map(({ key: _, ...token }) => token), unreadable };
  }

  /**
   * Ends all tokens the principal has now; one that is issued afterwards is good.
   *
   * @returns how many
   */
  async revokePrincipal(
    { verifier, name }: Pick<Principal, 'verifier' | 'name'>,
    o: CallOptions,
  ): Promise<number> {
    const tokens = (await this.#read(o)).tokens.filter(
      (token) => token.verifier === verifier && token.name === name,
    );
    // This machine's clock may be behind that of the proxy.
    const at = Math.max(this.#clock.now(), ...tokens.map((token) => token.createdAt));
    await this.#revocations.revokePrincipal({ verifier, name }, at, this.#limits.absolute, o);
    for (const { key } of tokens) await this.#state.delete(key, o);
    return tokens.length;
  }

  /** @returns what it ended: none where nothing has this id */
  async revokeById(id: string, o: CallOptions): Promise<readonly ListedRefreshToken[]> {
    const tokens = (await this.#read(o)).tokens.filter((token) => token.id === id);
    for (const { key } of tokens) {
      await this.#revocations.revokeToken(key, this.#clock.now(), this.#limits.absolute, o);
      await this.#state.delete(key, o);
    }
    return tokens.map(({ key: _, ...token }) => token);
  }

  async #read(o: CallOptions): Promise<{ tokens: readonly KeyedToken[]; unreadable: readonly string[] }> {
    const tokens: KeyedToken[] = [];
    const unreadable: string[] = [];
    for (const { key, value, expiresAt } of await this.#state.list(recordPrefix, o)) {
      const record = parseRecord(value);
      if (record === undefined) {
        unreadable.push(shortId(key));
        continue;
      }
      const { verifier, name, service, createdAt, usedAt } = record;
      // A record may outlive its revocation: a proxy that noted its use at that moment wrote it back.
      if (await this.#revocations.isRevoked({ key, verifier, name, createdAt }, o)) continue;
      tokens.push({
        ...{ key, id: shortId(key), verifier, name, service, createdAt, usedAt },
        ...(expiresAt !== undefined && { expiresAt }),
      });
    }
    return { tokens: tokens.sort(byPrincipal), unreadable };
  }
}

function byPrincipal(a: ListedRefreshToken, b: ListedRefreshToken): number {
  const order = (one: string, other: string) => (one === other ? 0 : one < other ? -1 : 1);
  return order(a.verifier, b.verifier) || order(a.name, b.name) || a.createdAt - b.createdAt;
}
