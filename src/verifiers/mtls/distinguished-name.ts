/** Relative names from the outermost inwards, each with its types (`CN`, or an object identifier) and their values. */
export type RelativeNames = readonly Readonly<Record<string, readonly string[]>>[];

/**
 * A distinguished name in one line, `CN=alice,O=Example` (RFC 4514: the innermost comes first). Characters that have a
 * meaning are written as `\2C`, never as `\,`: a comma in the line is then always the end of a part, and a pattern
 * such as `*,O=Example` cannot be met by a name that somebody chose.
 */
export function printDistinguishedName(names: RelativeNames): string {
  const parts = names.map((relative) =>
    Object.entries(relative)
      .flatMap(([type, values]) => values.map((value) => `${type}=${escaped(value)}`))
      .join('+'),
  );
  return parts.reverse().join(',');
}

/** All values of one type, wherever they stand. */
export function valuesOf(names: RelativeNames, type: string): readonly string[] {
  return names.flatMap((relative) => (Object.hasOwn(relative, type) ? (relative[type] ?? []) : []));
}

function escaped(value: string): string {
  // A space or a # at the ends would be lost, or read as something else.
  return value.replace(/[\p{Cc}"+,;<=>\\*]|^[ #]| $/gu, (character) =>
    [...Buffer.from(character)]
      .map((byte) => `\\${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
}
