import { randomBytes } from 'node:crypto';
import type { CallOptions, ClientCredentials, Principal, Verifier } from '../../contracts/index.js';
import { widerNetwork } from '../../decorators/client-network.js';
import { ofKnownUser, RegistryError } from '../../errors.js';
import { Secret } from '../../secret.js';
import type { Asked, ConnectionPool } from './connection-pool.js';
import type { DirectoryEntry } from './directory-entry.js';
import { asUnavailable, isTruncated, refusalReason, refused } from './failures.js';
import type { LdapConnection } from './ldap-connection.js';
import type { PrincipalReader } from './principal-reader.js';
import type { LdapConfig } from './settings.js';
import { shownPassword } from './shown-password.js';
import { escapeFilterValue } from './template.js';
import { within } from './time-limit.js';

export interface SearchVerifierParts {
  /** Bound as the service account, or as nobody. */
  readonly service: ConnectionPool;
  /** Connections of their own for users' binds: nothing else is ever done on them. */
  readonly users: ConnectionPool;
  readonly reader: PrincipalReader;
  readonly search: NonNullable<LdapConfig['search']>;
  readonly usernameAttribute: string;
  /** Milliseconds. */
  readonly timeout: number;
}

/** Finds a user's entry with a service account, and binds as that entry with the password that was shown. */
export class SearchVerifier implements Verifier {
  readonly #parts: SearchVerifierParts;

  constructor(parts: SearchVerifierParts) {
    this.#parts = parts;
  }

  get givesGroups(): boolean {
    return this.#parts.reader.givesGroups;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const shown = shownPassword(credentials);
    if (shown === undefined) return undefined;
    const network = widerNetwork(credentials.connection.address);
    return this.#limited({ signal: o.signal, network }, async (limited) => {
      const entry = await this.#find(shown.username, limited);
      if (entry === undefined) {
        await this.#pretend(limited);
        return undefined;
      }
      return this.#logIn(entry, shown.password, limited).catch((error: unknown) => {
        throw ofKnownUser(error);
      });
    });
  }

  async recheck(known: Principal, o: CallOptions): Promise<Principal | undefined> {
    return this.#limited(o, (limited) =>
      this.#parts.service.run(limited, async (connection, signal) => {
        const [entry, ...others] = await this.#named(known.name, connection, signal);
        if (entry === undefined || others.length > 0) return undefined;
        const present = await this.#parts.reader.principalOf(entry, connection, signal).catch(unlessRefused);
        return present?.name === known.name ? present : undefined;
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all([this.#parts.service.close(), this.#parts.users.close()]);
  }

  async #limited<V>(o: Asked, work: (limited: Asked) => Promise<V>): Promise<V> {
    const { timeout } = this.#parts;
    const late = () =>
      new RegistryError('UNAVAILABLE', { reason: `the directory took longer than ${timeout} ms` });
    return within(timeout, o.signal, late, (signal) =>
      work({ ...o, signal }).catch((error: unknown) => {
        throw asUnavailable(error, 'a search');
      }),
    );
  }

  async #logIn(entry: DirectoryEntry, password: Secret, o: Asked): Promise<Principal> {
    await this.#bind(entry.dn, password, o);
    return this.#parts.service.run(o, async (connection, signal) => {
      await this.#requireUnique(entry, connection, signal);
      return this.#parts.reader.principalOf(entry, connection, signal);
    });
  }

  /** @throws RegistryError UNAUTHORIZED where several entries match: none is picked */
  async #find(username: string, o: Asked): Promise<DirectoryEntry | undefined> {
    const { service, search, reader } = this.#parts;
    const filter = search.filter.fill({ username });
    const entries = await service
      .run(o, (connection, signal) =>
        connection.search({ ...search, filter, attributes: reader.entryAttributes }, signal),
      )
      .catch((error: unknown) => {
        if (isTruncated(error)) throw ofKnownUser(refused('several entries match the user name', error));
        throw asUnavailable(error, 'the search for a user');
      });
    const [entry, ...others] = entries;
    if (others.length > 0) throw ofKnownUser(refused('several entries match the user name'));
    if (entry?.dn === '') throw refused('the entry found is the root of the directory');
    return entry;
  }

  async #bind(dn: string, password: Secret, o: Asked): Promise<void> {
    const { users } = this.#parts;
    await users
      .run(o, (connection, signal) => connection.bind(dn, password, signal))
      .catch((error: unknown) => {
        const reason = refusalReason(error, 'wrong password');
        throw reason === undefined ? asUnavailable(error, "a user's bind") : refused(reason, error);
      });
  }

  /**
   * Who is unknown is refused after a bind, too, so that the time of a refusal does not tell who is known (threat 16).
   * As an entry that is not there, and with a password of ours: the one shown may be for another verifier.
   */
  async #pretend(o: Asked): Promise<void> {
    const nobody = `cn=${randomBytes(12).toString('hex')},${this.#parts.search.base}`;
    const password = new Secret(randomBytes(12).toString('hex'));
    await this.#parts.users
      .run(o, (connection, signal) => connection.bind(nobody, password, signal))
      .catch((error: unknown) => {
        // Known users would hear of it as well.
        if (error instanceof RegistryError) throw error;
      });
    o.signal.throwIfAborted();
  }

  /** Found by another attribute, by mail say, two people might still have the same name. */
  async #requireUnique(
    entry: DirectoryEntry,
    connection: LdapConnection,
    signal: AbortSignal,
  ): Promise<void> {
    const { search, usernameAttribute, reader } = this.#parts;
    if (search.filter.comparesOnly(usernameAttribute)) return;
    const named = await this.#named(reader.nameOf(entry), connection, signal);
    if (named.length !== 1) throw refused(`the ${usernameAttribute} of the entry is not its alone`);
  }

  /** Everybody who could log in and has this name. */
  async #named(
    name: string,
    connection: LdapConnection,
    signal: AbortSignal,
  ): Promise<readonly DirectoryEntry[]> {
    const { search, usernameAttribute, reader } = this.#parts;
    const filter = `(&(${usernameAttribute}=${escapeFilterValue(name)})${search.filter.forAnybody()})`;
    return connection.search({ ...search, filter, attributes: reader.entryAttributes }, signal);
  }
}

function unlessRefused(error: unknown): undefined {
  if (error instanceof RegistryError && error.code === 'UNAUTHORIZED') return undefined;
  throw error;
}
