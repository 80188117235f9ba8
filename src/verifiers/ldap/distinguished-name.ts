/**
 * The value that an attribute has in the first part of a DN (RFC 4514): `developers` for `cn` in
 * `cn=developers,ou=groups,dc=example,dc=com`.
 *
 * @returns undefined where the first part does not name the attribute, or gives its value as BER (`#04…`)
 */
export function namingValue(dn: string, attribute: string): string | undefined {
  for (const pair of firstParts(dn)) {
    const equals = pair.indexOf('=');
    if (pair.slice(0, equals).trim().toLowerCase() !== attribute.toLowerCase()) continue;
    const value = trimUnescaped(pair.slice(equals + 1));
    return value === '' || value.startsWith('#') ? undefined : unescapeValue(value);
  }
  return undefined;
}

/** The attributes whose values in the first part of a DN hold a text: `uid` for `{username}` in `uid={username},ou=people`. */
export function namingAttributes(dn: string, text: string): readonly string[] {
  const holding = firstParts(dn).filter((pair) => pair.slice(pair.indexOf('=')).includes(text));
  return holding.map((pair) => pair.slice(0, pair.indexOf('=')).trim());
}

/** `cn=a+uid=b` of `cn=a+uid=b,ou=c` as two texts, still escaped. */
function firstParts(dn: string): readonly string[] {
  const parts = [''];
  for (let i = 0; i < dn.length; i++) {
    const character = dn.charAt(i);
    if (character === ',' || character === ';') break;
    if (character === '+') parts.push('');
    else parts[parts.length - 1] += character === '\\' ? character + dn.charAt(++i) : character;
  }
  return parts;
}

/** Spaces around a value are nobody's, but for one behind a backslash. */
function trimUnescaped(text: string): string {
  const trimmed = text.trimEnd();
  const escaped = /(?:^|[^\\])(?:\\\\)*\\$/.test(trimmed);
  return (escaped && text.length > trimmed.length ? `${trimmed} ` : trimmed).trimStart();
}

/** Pairs of hexadecimal digits are bytes of UTF-8. */
function unescapeValue(text: string): string {
  return text.replace(/(?:\\[0-9a-f]{2})+|\\(.)/gi, (escaped, character: string | undefined) =>
    character === undefined ? Buffer.from(escaped.replaceAll('\\', ''), 'hex').toString('utf8') : character,
  );
}
