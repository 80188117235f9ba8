import type { CallOptions, ClientCredentials, Principal, Verifier } from '../../contracts/index.js';
import { widerNetwork } from '../../decorators/client-network.js';
import { RegistryError } from '../../errors.js';
import type { Secret } from '../../secret.js';
import type { ConnectionPool } from './connection-pool.js';
import { asUnavailable, refusalReason, refused } from './failures.js';
import type { LdapConnection } from './ldap-connection.js';
import type { PrincipalReader } from './principal-reader.js';
import { shownPassword } from './shown-password.js';
import type { DnTemplate } from './template.js';
import { within } from './time-limit.js';

export interface TemplateVerifierParts {
  /** A connection of its own for each user: they search with their own rights. */
  readonly users: ConnectionPool;
  readonly reader: PrincipalReader;
  readonly bindDn: DnTemplate;
  /** Milliseconds. */
  readonly timeout: number;
}

/**
 * Binds as a DN made of the user's name, and reads what that user may read. It has no account of its own: nobody can be
 * looked up again, so there is no `recheck`. And a directory does not say whether it is the user or the password that
 * it does not know, so nobody is "not mine".
 */
export class TemplateVerifier implements Verifier {
  readonly #parts: TemplateVerifierParts;

  constructor(parts: TemplateVerifierParts) {
    this.#parts = parts;
  }

  get givesGroups(): boolean {
    return this.#parts.reader.givesGroups;
  }

  async verify(credentials: ClientCredentials, o: CallOptions): Promise<Principal | undefined> {
    const { bindDn, timeout, users } = this.#parts;
    const shown = shownPassword(credentials);
    if (shown === undefined) return undefined;
    const late = () =>
      new RegistryError('UNAVAILABLE', { reason: `the directory took longer than ${timeout} ms` });
    return within(timeout, o.signal, late, async (limited) => {
      const dn = bindDn.fill(shown.username);
      const work = (connection: LdapConnection, signal: AbortSignal) =>
        this.#verifyOn(connection, dn, shown.password, signal);
      const network = widerNetwork(credentials.connection.address);
      return users.run({ signal: limited, network }, work).catch((error: unknown) => {
        throw asUnavailable(error, "reading a user's entry");
      });
    });
  }

  close(): Promise<void> {
    return this.#parts.users.close();
  }

  async #verifyOn(
    connection: LdapConnection,
    dn: string,
    password: Secret,
    signal: AbortSignal,
  ): Promise<Principal> {
    const { reader } = this.#parts;
    await connection.bind(dn, password, signal).catch((error: unknown) => {
      const reason = refusalReason(error, 'wrong password, or no such user');
      throw reason === undefined ? error : refused(reason, error);
    });
    const read = { base: dn, scope: 'base', filter: '(objectClass=*)' } as const;
    const [entry] = await connection.search({ ...read, attributes: reader.entryAttributes }, signal);
    if (entry === undefined) throw refused('the user may not read their own entry');
    return reader.principalOf(entry, connection, signal);
  }
}
