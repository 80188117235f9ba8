import { HeaderText, maxHeaderLength, quote, unquote } from './header-text.js';

/** One link of a `Link` header (RFC 8288 section 3). Parameter names are in lower case. */
export interface Link {
  readonly target: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const target = /[ \t,]*<([^<>]*)>/y;
const parameter =
  /[ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+)))?/y;

/** Parses the links of a header's value. Never throws; what cannot be understood ends the list. */
export function parseLinks(header: string): readonly Link[] {
  const links: Link[] = [];
  if (header.length > maxHeaderLength) return links;
  const text = new HeaderText(header);
  for (;;) {
    const found = text.take(target);
    if (!found) return links;
    const parameters = new Map<string, string>();
    for (let next = text.take(parameter); next; next = text.take(parameter)) {
      const name = (next[1] ?? '').toLowerCase();
      const value = next[2] === undefined ? (next[3] ?? '') : unquote(next[2]);
      if (!parameters.has(name)) parameters.set(name, value);
    }
    links.push({ target: found[1] ?? '', parameters });
  }
}

export function printLink(link: Link): string {
  const parameters = [...link.parameters].map(([name, value]) => `; ${name}=${quote(value)}`);
  return `<${link.target}>${parameters.join('')}`;
}

/** Relation types are case-insensitive (RFC 8288 section 2.1.1). */
function relations(link: Link): readonly string[] {
  return (link.parameters.get('rel') ?? '').toLowerCase().split(/\s+/);
}

/** The target of the first link with `rel="next"`, as it was sent. */
export function nextLink(header: string): string | undefined {
  return parseLinks(header).find((link) => relations(link).includes('next'))?.target;
}
