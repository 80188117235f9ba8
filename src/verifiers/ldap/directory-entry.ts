import type { Entry } from 'ldapts';

/** An entry as a search gave it. Names of attributes are compared without regard to case (RFC 4512 section 2.5). */
export class DirectoryEntry {
  readonly dn: string;
  readonly #values = new Map<string, readonly string[]>();
  readonly #partial = new Set<string>();

  constructor(entry: Entry) {
    this.dn = entry.dn;
    for (const [description, value] of Object.entries(entry)) {
      if (description === 'dn') continue;
      const [name = '', ...options] = description.toLowerCase().split(';');
      const values = [value].flat().filter((one): one is string => typeof one === 'string' && one !== '');
      // Active Directory gives long lists in pieces: `member;range=0-1499`.
      if (options.some((option) => option.startsWith('range='))) this.#partial.add(name);
      this.#values.set(name, [...(this.#values.get(name) ?? []), ...values]);
    }
  }

  /** Its texts, in the directory's order; what is not UTF-8 is left out. */
  values(attribute: string): readonly string[] {
    return this.#values.get(attribute.toLowerCase()) ?? [];
  }

  /** True where the directory has more values than it gave. */
  isPartial(attribute: string): boolean {
    return this.#partial.has(attribute.toLowerCase());
  }
}
