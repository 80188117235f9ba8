/** One challenge of a `WWW-Authenticate` header (RFC 9110 section 11.6.1). Parameter names are in lower case. */
export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const space = /[ \t]*/y;
const separators = /[ \t,]*/y;
const token68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
const maxLength = 16_384;

/**
 * Parses the challenges of a header's value. Lenient where registries are: it never throws, and what cannot be
 * understood ends the list. Of a repeated parameter the first counts.
 */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: Challenge[] = [];
  if (header.length > maxLength) return challenges;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(header) ?? undefined;
    if (match) at = pattern.lastIndex;
    return match;
  };

  for (;;) {
    take(separators);
    const scheme = take(token)?.[0].toLowerCase();
    if (scheme === undefined) return challenges;
    const parameters = new Map<string, string>();
    challenges.push({ scheme, parameters });
    take(space);
    if (take(token68)) continue;
    for (;;) {
      const start = at;
      take(separators);
      const name = take(token)?.[0].toLowerCase();
      if (name === undefined) break;
      take(space);
      if (header[at] !== '=') {
        at = start; // not a parameter: the next challenge's scheme
        break;
      }
      at++;
      take(space);
      const text = take(quoted);
      const value = text ? (text[1] ?? '').replace(/\\(.)/gs, '$1') : take(token)?.[0];
      if (value === undefined) return challenges;
      if (!parameters.has(name)) parameters.set(name, value);
    }
  }
}

/** Prints one challenge with every value quoted, as docker's and containerd's parsers expect. */
export function printChallenge(challenge: Challenge): string {
  const scheme = challenge.scheme.charAt(0).toUpperCase() + challenge.scheme.slice(1);
  const parameters = [...challenge.parameters].map(
    ([name, value]) => `${name}="${value.replace(/["\\]/g, (character) => `\\${character}`)}"`,
  );
  return parameters.length === 0 ? scheme : `${scheme} ${parameters.join(',')}`;
}
