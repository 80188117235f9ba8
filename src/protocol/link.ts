/** One link of a `Link` header (RFC 8288 section 3). Parameter names are in lower case. */
export interface Link {
  readonly target: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const target = /[ \t,]*<([^<>]*)>/y;
const parameter =
  /[ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+)))?/y;
const maxLength = 16_384;

/** Parses the links of a header's value. Never throws; what cannot be understood ends the list. */
export function parseLinks(header: string): readonly Link[] {
  const links: Link[] = [];
  if (header.length > maxLength) return links;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(header) ?? undefined;
    if (match) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    const found = take(target);
    if (!found) return links;
    const parameters = new Map<string, string>();
    for (let next = take(parameter); next; next = take(parameter)) {
      const name = (next[1] ?? '').toLowerCase();
      const value = next[2] === undefined ? (next[3] ?? '') : next[2].replace(/\\(.)/gs, '$1');
      if (!parameters.has(name)) parameters.set(name, value);
    }
    links.push({ target: found[1] ?? '', parameters });
  }
}

export function printLink(link: Link): string {
  const parameters = [...link.parameters].map(
    ([name, value]) => `; ${name}="${value.replace(/["\\]/g, (character) => `\\${character}`)}"`,
  );
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
