import { HeaderText, maxHeaderLength, quote, unquote } from './header-text.js';

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

/**
 * Parses the challenges of a header's value. Lenient where registries are: it never throws, and what cannot be
 * understood ends the list. Of a repeated parameter the first counts.
 */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: Challenge[] = [];
  if (header.length > maxHeaderLength) return challenges;
  const text = new HeaderText(header);
  for (;;) {
    text.take(separators);
    const scheme = text.take(token)?.[0].toLowerCase();
    if (scheme === undefined) return challenges;
    const parameters = new Map<string, string>();
    challenges.push({ scheme, parameters });
    text.take(space);
    if (text.take(token68)) continue;
    for (;;) {
      const start = text.at;
      text.take(separators);
      const name = text.take(token)?.[0].toLowerCase();
      if (name === undefined) break;
      text.take(space);
      if (text.next !== '=') {
        text.at = start; // not a parameter: the next challenge's scheme
        break;
      }
      text.at++;
      text.take(space);
      const inQuotes = text.take(quoted);
      const value = inQuotes ? unquote(inQuotes[1] ?? '') : text.take(token)?.[0];
      if (value === undefined) return challenges;
      if (!parameters.has(name)) parameters.set(name, value);
    }
  }
}

/** Prints one challenge with every value quoted, as docker's and containerd's parsers expect. */
export function printChallenge(challenge: Challenge): string {
  const scheme = challenge.scheme.charAt(0).toUpperCase() + challenge.scheme.slice(1);
  const parameters = [...challenge.parameters].map(([name, value]) => `${name}=${quote(value)}`);
  return parameters.length === 0 ? scheme : `${scheme} ${parameters.join(',')}`;
}
