import { createHash } from 'node:crypto';
import type { AttributeValue, Principal } from '../../contracts/index.js';
import type { DirectoryEntry } from './directory-entry.js';
import { refused } from './failures.js';
import { GroupFinder, TooManyGroups } from './group-finder.js';
import type { LdapConnection } from './ldap-connection.js';
import type { LdapConfig } from './settings.js';

/** Bytes of a name: it stands in rules, logs and state. */
const maxName = 255;

/** Makes principals of users' entries. */
export class PrincipalReader {
  readonly #id: string;
  readonly #config: LdapConfig;
  readonly #groups: GroupFinder;

  /** @param id the verifier's */
  constructor(id: string, config: LdapConfig) {
    this.#id = id;
    this.#config = config;
    this.#groups = new GroupFinder(config.groups);
  }

  get givesGroups(): boolean {
    return this.#config.groups !== undefined;
  }

  /** What to ask for with a user's entry. */
  get entryAttributes(): readonly string[] {
    const { usernameAttribute, attributes, credentialVersionAttribute: version } = this.#config;
    const names = [usernameAttribute, ...this.#groups.entryAttributes, ...Object.values(attributes)];
    return [...new Set(version === undefined ? names : [...names, version])];
  }

  /**
   * The name in rules: rules compare characters, a directory does not. So it is the directory's own spelling, whatever
   * the client typed.
   *
   * @throws RegistryError UNAUTHORIZED where there is none that can be used
   */
  nameOf(entry: DirectoryEntry): string {
    const attribute = this.#config.usernameAttribute;
    const [name, ...others] = entry.values(attribute);
    if (name === undefined) throw refused(`the entry has no ${attribute} that may be read`);
    if (others.length > 0)
      throw refused(`the entry has several values of ${attribute}: which one is the name?`);
    if (Buffer.byteLength(name) > maxName) throw refused(`the ${attribute} is too long for a name`);
    if (/[\p{Cc}\p{Cs}]/u.test(name)) throw refused(`the ${attribute} holds control characters`);
    return name;
  }

  /**
   * @param connection groups are searched on it, with its rights
   * @throws RegistryError UNAUTHORIZED where there is no usable name, or too many groups; what a search throws
   */
  async principalOf(
    entry: DirectoryEntry,
    connection: LdapConnection,
    signal: AbortSignal,
  ): Promise<Principal> {
    const name = this.nameOf(entry);
    const groups = await this.#groups.groupsOf(entry, name, connection, signal).catch((error: unknown) => {
      throw error instanceof TooManyGroups ? refused(error.message, error) : error;
    });
    const version = this.#config.credentialVersionAttribute;
    return {
      verifier: this.#id,
      name,
      kind: 'human',
      groups,
      attributes: this.#attributesOf(entry),
      ...(version !== undefined && { credentialVersion: digestOf(entry.values(version)) }),
    };
  }

  #attributesOf(entry: DirectoryEntry): Readonly<Record<string, AttributeValue>> {
    const found: Record<string, AttributeValue> = {};
    for (const [name, attribute] of Object.entries(this.#config.attributes)) {
      const values = entry.values(attribute);
      const [first] = values;
      if (first !== undefined) found[name] = values.length === 1 ? first : values;
    }
    return found;
  }
}

/** No values are a version as well: the first change of a password is one. */
function digestOf(values: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(values)).digest('base64url').slice(0, 16);
}
