import { randomBytes } from 'node:crypto';
import type { CallOptions, ClientCredentials, Principal, Verifier } from '../../contracts/index.js';
import { RegistryError } from '../../errors.js';
import { Secret } from '../../secret.js';
import type { ConnectionPool } from './connection-pool.js';
import type { DirectoryEntry } from './directory-entry.js';
import { asUnavailable, isTruncated, refusalReason, refused } from './failures.js';
import type { LdapConnection } from './ldap-connection.js';
import type { PrincipalReader } from './principal-reader.js';
import type { LdapConfig } from './settings.js';
import { shownPassword } from './shown-password.js';
import { escapeFilterValue } from './template.js';
import { within } from './time-limit.js';

export interface SearchVerifierParts {
  readonly id: string;
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

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const shown = shownPassword(credentials, this.#parts.id);
    if (shown === undefined) return undefined;
    return this.#limited(o, async (limited) => {
      const entry = await this.#find(shown.username, limited);
      if (entry === undefined) {
        await this.#pretend(limited);
        return undefined;
      }
      await this.#bind(entry.dn, shown.password, limited);
      return this.#parts.service.run(limited, async (connection, signal) => {
        await this.#requireUnique(entry, connection, signal);
        return this.#parts.reader.principalOf(entry, connection, signal);
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

  async #limited<V>(o: CallOptions, work: (limited: CallOptions) => Promise<V>): Promise<V> {
    const { timeout } = this.#parts;
    const late = () =>
      new RegistryError('UNAVAILABLE', { reason: `the directory took longer than ${timeout} ms` });
    return within(timeout, o.signal, late, (signal) =>
      work({ signal }).catch((error: unknown) => {
        throw asUnavailable(error, 'a search');
      }),
    );
  }

  /** @throws RegistryError UNAUTHORIZED where several entries match: none is picked */
  async #find(username: string, o: CallOptions): Promise<DirectoryEntry | undefined> {
    const { id, service, search, reader } = this.#parts;
    const filter = search.filter.fill({ username });
    const entries = await service
      .run(o, (connection, signal) =>
        connection.search({ ...search, filter, attributes: reader.entryAttributes }, signal),
      )
      .catch((error: unknown) => {
        if (isTruncated(error)) throw refused('several entries match the user name', id, error);
        throw asUnavailable(error, 'the search for a user');
      });
    const [entry, ...others] = entries;
    if (others.length > 0) throw refused('several entries match the user name', id);
    if (entry?.dn === '') throw refused('the entry found is the root of the directory', id);
    return entry;
  }

  async #bind(dn: string, password: Secret, o: CallOptions): Promise<void> {
    const { id, users } = this.#parts;
    await users
      .run(o, (connection, signal) => connection.bind(dn, password, signal))
      .catch((error: unknown) => {
        const reason = refusalReason(error, 'wrong password');
        throw reason === undefined ? asUnavailable(error, "a user's bind") : refused(reason, id, error);
      });
  }

  /**
   * Who is unknown is refused after a bind, too, so that the time of a refusal does not tell who is known (threat 16).
   * As an entry that is not there, and with a password of ours: the one shown may be for another verifier.
   */
  async #pretend(o: CallOptions): Promise<void> {
    const nobody = `cn=${randomBytes(12).toString('hex')},${this.#parts.search.base}`;
    const password = new Secret(randomBytes(12).toString('hex'));
    await this.#parts.users
      .run(o, (connection, signal) => connection.bind(nobody, password, signal))
      .catch(() => {});
    o.signal.throwIfAborted();
  }

  /** Found by another attribute, by mail say, two people might still have the same name. */
  async #requireUnique(
    entry: DirectoryEntry,
    connection: LdapConnection,
    signal: AbortSignal,
  ): Promise<void> {
    const { id, search, usernameAttribute, reader } = this.#parts;
    if (search.filter.comparesOnly(usernameAttribute)) return;
    const named = await this.#named(reader.nameOf(entry), connection, signal);
    if (named.length !== 1) throw refused(`the ${usernameAttribute} of the entry is not its alone`, id);
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
