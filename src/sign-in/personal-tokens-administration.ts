import type { CallOptions, Clock, StateStore } from '../contracts/index.js';
import { Revocations } from '../revocation/revocations.js';
import type { Person } from './person.js';
import type { PersonalAccessToken } from './personal-access-token.js';
import { endOf, parseRecord, recordPrefix, shortId } from './personal-token-records.js';
import { parseSignedIn, signedInKey } from './signed-in-records.js';

/** A personal access token that is good, as far as the state tells. */
export interface ListedPersonalToken extends PersonalAccessToken {
  readonly verifier: string;
  readonly name: string;
}

export interface PersonalTokenList {
  /** By person, the oldest first. */
  readonly tokens: readonly ListedPersonalToken[];
  /** Ids of records that cannot be read: they are good for nothing. */
  readonly unreadable: readonly string[];
}

/** With its record's end; `end` is by the longest life there is now. */
type KeyedToken = ListedPersonalToken & { readonly key: string; readonly end: number };

/**
 * Lists and revokes personal access tokens, beside the proxy that gives and takes them: it needs no compareAndSet.
 */
export class PersonalTokensAdministration {
  readonly #state: StateStore;
  readonly #clock: Clock;
  readonly #life: number;
  readonly #maxLife: number;
  readonly #revocations: Revocations;

  /** @param lives milliseconds: of the longest session, and of the longest token that comes of it */
  constructor(
    state: StateStore,
    clock: Clock,
    { session, maxLife }: { readonly session: number; readonly maxLife: number },
  ) {
    this.#state = state;
    this.#clock = clock;
    this.#life = session + maxLife;
    this.#maxLife = maxLife;
    this.#revocations = new Revocations(state);
  }

  /** @throws RegistryError UNAVAILABLE, as every call here does where the state cannot be read or written */
  async list(o: CallOptions): Promise<PersonalTokenList> {
    const { tokens, unreadable } = await this.#read(o);
    const now = this.#clock.now();
    const living = tokens.filter(({ end }) => end > now);
    return { tokens: (await this.#good(living, o)).map(listed), unreadable };
  }

  /**
   * Ends all tokens and sessions the person has now, and forgets the refresh token of the provider.
   *
   * @returns how many tokens
   */
  async revokePrincipal({ verifier, name }: Person, o: CallOptions): Promise<number> {
    // Also those that a revocation of the person's other tokens, a moment ago, has ended.
    const tokens = (await this.#read(o)).tokens.filter(
      (token) => token.verifier === verifier && token.name === name,
    );
    const key = signedInKey({ verifier, name });
    const signedIn = parseSignedIn((await this.#state.get(key, o))?.value, { verifier, name });
    // This machine's clock may be behind that of the proxy.
    const times = [...tokens.map((token) => token.createdAt), signedIn?.signedInAt ?? 0];
    await this.#revocations.revokePrincipal(
      { verifier, name },
      Math.max(this.#clock.now(), ...times),
      this.#life,
      o,
    );
    for (const token of tokens) await this.#state.delete(token.key, o);
    await this.#state.delete(key, o);
    return tokens.length;
  }

  /** @returns what it ended: none where nothing has this id */
  async revokeById(id: string, o: CallOptions): Promise<readonly ListedPersonalToken[]> {
    const found = (await this.#read(o)).tokens.filter((token) => token.id === id);
    const tokens = await this.#good(found, o);
    for (const { key, expiresAt } of tokens) {
      const now = this.#clock.now();
      await this.#revocations.revokeToken(key, now, Math.max(this.#life, expiresAt - now), o);
      await this.#state.delete(key, o);
    }
    return tokens.map(listed);
  }

  async #read(o: CallOptions): Promise<{ tokens: readonly KeyedToken[]; unreadable: readonly string[] }> {
    const tokens: KeyedToken[] = [];
    const unreadable: string[] = [];
    for (const { key, value } of await this.#state.list(recordPrefix, o)) {
      const record = parseRecord(value);
      if (record === undefined) {
        unreadable.push(shortId(key));
        continue;
      }
      const { usedAt, ...rest } = record;
      const end = endOf(rest, this.#maxLife);
      tokens.push({ key, end, id: shortId(key), ...rest, ...(usedAt !== undefined && { usedAt }) });
    }
    return { tokens: tokens.sort(byPerson), unreadable };
  }

  /** A record may outlive its revocation: a proxy that noted its use at that moment wrote it back. */
  async #good(tokens: readonly KeyedToken[], o: CallOptions): Promise<readonly KeyedToken[]> {
    const good: KeyedToken[] = [];
    for (const token of tokens) {
      if (!(await this.#revocations.isRevoked(token, o))) good.push(token);
    }
    return good;
  }
}

function listed({ key: _, end, ...token }: KeyedToken): ListedPersonalToken {
  return { ...token, expiresAt: end };
}

function byPerson(a: ListedPersonalToken, b: ListedPersonalToken): number {
  const order = (one: string, other: string) => (one === other ? 0 : one < other ? -1 : 1);
  return order(a.verifier, b.verifier) || order(a.name, b.name) || a.createdAt - b.createdAt;
}
