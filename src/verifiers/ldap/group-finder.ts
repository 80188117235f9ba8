import type { DirectoryEntry } from './directory-entry.js';
import { namingValue } from './distinguished-name.js';
import { isTruncated } from './failures.js';
import type { LdapConnection } from './ldap-connection.js';
import type { GroupSettings } from './settings.js';

const maxGroups = 1_000;
/** Groups in groups in groups: deeper ones are a mistake, and a cycle ends by itself. */
const maxDepth = 16;
/** Groups whose parents are asked for in one search. */
const atOnce = 50;

/** Who has more groups than can be told is told none: a rule that denies one of them must not be lost. */
export class TooManyGroups extends Error {}

/** Finds the groups of a user's entry. */
export class GroupFinder {
  readonly #settings: GroupSettings | undefined;

  constructor(settings: GroupSettings | undefined) {
    this.#settings = settings;
  }

  /** What to ask for with the user's entry. */
  get entryAttributes(): readonly string[] {
    return this.#settings?.attribute === undefined ? [] : [this.#settings.attribute];
  }

  /**
   * @param username as the directory spells it
   * @returns unqualified names, each once
   * @throws TooManyGroups; what `LdapConnection.search` throws
   */
  async groupsOf(
    user: DirectoryEntry,
    username: string,
    connection: LdapConnection,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { attribute, search, name } = this.#settings ?? {};
    if (attribute !== undefined && name !== undefined) return listed(user, attribute, name);
    if (search === undefined || name === undefined) return [];
    const found = await this.#search(user, username, connection, signal);
    return namesOf(found.flatMap((group) => (name === 'dn' ? [group.dn] : group.values(name))));
  }

  async #search(
    user: DirectoryEntry,
    username: string,
    connection: LdapConnection,
    signal: AbortSignal,
  ): Promise<readonly DirectoryEntry[]> {
    const found = new Map<string, DirectoryEntry>();
    let members: readonly string[] = [user.dn];
    for (let depth = 0; members.length > 0; depth++) {
      if (depth === maxDepth) throw new TooManyGroups(`groups are nested deeper than ${maxDepth}`);
      const fresh: string[] = [];
      for (let i = 0; i < members.length; i += atOnce) {
        for (const group of await this.#parentsOf(
          members.slice(i, i + atOnce),
          username,
          connection,
          signal,
        )) {
          const key = group.dn.toLowerCase();
          if (!found.has(key)) fresh.push(group.dn);
          found.set(key, group);
          if (found.size > maxGroups) throw tooMany();
        }
      }
      members = this.#settings?.nested ? fresh : [];
    }
    return [...found.values()];
  }

  async #parentsOf(
    members: readonly string[],
    username: string,
    connection: LdapConnection,
    signal: AbortSignal,
  ): Promise<readonly DirectoryEntry[]> {
    const { search, name = 'dn' } = this.#settings ?? {};
    if (search === undefined) return [];
    const { base, scope } = search;
    const filters = members.map((dn) => search.filter.fill({ dn, username }));
    const filter = filters.length === 1 ? filters.join('') : `(|${filters.join('')})`;
    try {
      // RFC 4511 section 4.5.1.8: no attributes at all.
      const attributes = [name === 'dn' ? '1.1' : name];
      return await connection.search({ base, scope, filter, attributes }, signal);
    } catch (error) {
      throw isTruncated(error) ? tooMany(error) : error;
    }
  }
}

/** Groups that the user's entry lists, by their DNs or by plain names. */
function listed(user: DirectoryEntry, attribute: string, name: string): readonly string[] {
  if (user.isPartial(attribute)) throw tooMany();
  const values = user.values(attribute);
  return namesOf(name === 'dn' ? values : values.map((value) => namingValue(value, name) ?? ''));
}

function namesOf(values: readonly string[]): readonly string[] {
  const names = new Set(values.filter((value) => value !== ''));
  if (names.size > maxGroups) throw tooMany();
  return [...names];
}

function tooMany(cause?: unknown): TooManyGroups {
  return new TooManyGroups(`there are more than ${maxGroups} groups`, { cause });
}
