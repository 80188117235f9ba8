import { resolve } from 'node:path';
import { defineDriver } from '../contracts/driver.js';
import type { DriverDependencies, Verifier } from '../contracts/index.js';
import { openSecret } from '../outgoing/open-secret.js';
import { trustWith } from '../outgoing/trust.js';
import { ConnectionPool } from './ldap/connection-pool.js';
import { serviceRefused } from './ldap/failures.js';
import { LdapServers, type Prepare } from './ldap/ldap-servers.js';
import { PrincipalReader } from './ldap/principal-reader.js';
import { SearchVerifier } from './ldap/search-verifier.js';
import { type LdapConfig, ldapConfig } from './ldap/settings.js';
import { TemplateVerifier } from './ldap/template-verifier.js';

/** Searches are short; a directory counts its connections. */
const serviceConnections = 4;
/** Milliseconds. Servers end idle connections after minutes. */
const keepIdle = 60_000;
/** Each is a connection of its own, and one password hash for the directory. */
const userConnections = 16;

/** An LDAP directory (RFC 4511) vouches for its users: by a search and a bind, or by a bind alone. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'verifier',
  type: 'ldap',
  config: ldapConfig,
  async open(config, dependencies): Promise<Verifier> {
    const { id, baseDirectory } = dependencies;
    const { url, startTls, ca, search, bindDn, usernameAttribute, timeout } = config;
    const secureContext = ca && (await trustWith(resolve(baseDirectory, ca.text)));
    const security = { startTls, ...(secureContext && { secureContext }) };
    const servers = new LdapServers(url, security, timeout, dependencies);
    const users = new ConnectionPool(servers, { atOnce: userConnections, keep: 0, prepare: async () => {} });
    const reader = new PrincipalReader(id, config);
    if (bindDn !== undefined) return new TemplateVerifier({ users, reader, bindDn, timeout });
    if (search === undefined) throw new Error('neither `search` nor `bindDn` is set');
    const prepare = await serviceBind(config, dependencies);
    const service = new ConnectionPool(servers, { atOnce: serviceConnections, keep: keepIdle, prepare });
    return new SearchVerifier({ service, users, reader, search, usernameAttribute, timeout });
  },
});

/** The password is read for each new connection: its rotation needs no restart. */
async function serviceBind({ bind }: LdapConfig, dependencies: DriverDependencies): Promise<Prepare> {
  if (bind === undefined) return async () => {};
  const password = await openSecret(bind.password, dependencies);
  return async (connection, signal) => {
    const secret = await password();
    await connection.bind(bind.dn, secret, signal).catch((error: unknown) => {
      throw serviceRefused(connection.server.name, error);
    });
  };
}
