/** `${principal.name}`, or `${principal.attributes.NAME}`. */
export type GlobVariable = 'name' | { readonly attribute: string };

type Part =
  | { readonly kind: 'literal'; readonly text: string }
  /** `*`: within one component */
  | { readonly kind: 'star' }
  /** `**`: anything, slashes included */
  | { readonly kind: 'stars' }
  /** `${principal.…}` */
  | { readonly kind: 'value'; readonly of: GlobVariable };

/** A repository pattern, anchored at both ends: `**`, `infra/**`, `team-*`, `users/${principal.name}/**`. */
export interface RepositoryGlob {
  readonly text: string;
  readonly parts: readonly Part[];
}

const variable = /^\$\{principal\.(?:(name)|attributes\.([A-Za-z_][A-Za-z0-9_]*))\}/;
const literal = /^[a-z0-9._/-]+/;

/** @returns the glob, or what was expected instead */
export function parseGlob(text: string): RepositoryGlob | string {
  const parts: Part[] = [];
  for (let rest = text; rest !== ''; ) {
    const value = variable.exec(rest);
    const plain = literal.exec(rest);
    if (value) {
      parts.push({ kind: 'value', of: value[2] === undefined ? 'name' : { attribute: value[2] } });
      rest = rest.slice(value[0].length);
    } else if (rest.startsWith('**')) {
      if (rest.startsWith('***')) return "expected '*' or '**', not more stars";
      parts.push({ kind: 'stars' });
      rest = rest.slice(2);
    } else if (rest.startsWith('*')) {
      parts.push({ kind: 'star' });
      rest = rest.slice(1);
    } else if (plain) {
      parts.push({ kind: 'literal', text: plain[0] });
      rest = rest.slice(plain[0].length);
    } else {
      return 'expected lower-case letters, digits, . _ - /, the wildcards * and **, ${principal.name} or ${principal.attributes.NAME}';
    }
  }
  return parts.length === 0 ? "expected a repository pattern such as 'team/**'" : { text, parts };
}

/** The attributes a glob speaks of. */
export function globAttributes(glob: RepositoryGlob): readonly string[] {
  return glob.parts.flatMap((part) =>
    part.kind === 'value' && part.of !== 'name' ? [part.of.attribute] : [],
  );
}

/**
 * True where the whole name matches.
 *
 * @param textFor what stands for a variable; nothing matches a glob with one that has no value
 */
export function matchesRepositoryGlob(
  glob: RepositoryGlob,
  name: string,
  textFor: (variable: GlobVariable) => string | undefined = () => undefined,
): boolean {
  let ends: Ends = { at: [0], andAllAfter: false };
  for (const part of glob.parts) {
    if (part.kind === 'star') ends = afterStar(name, ends);
    else if (part.kind === 'stars') ends = { at: ends.at.slice(0, 1), andAllAfter: true };
    else {
      const text = part.kind === 'literal' ? part.text : textFor(part.of);
      if (text === undefined) return false;
      ends = afterText(name, ends, text);
    }
    // A catalogue asks about every name there is: most of them end here, at the first part.
    if (ends.at.length === 0) return false;
  }
  return ends.andAllAfter || ends.at.at(-1) === name.length;
}

/**
 * Where in the name the parts so far can end, in ascending order. Unlike a pattern of many stars this never tries the
 * same place twice.
 */
interface Ends {
  readonly at: readonly number[];
  /** Also everywhere after the first of them. */
  readonly andAllAfter: boolean;
}

function afterText(name: string, { at, andAllAfter }: Ends, text: string): Ends {
  const ends: number[] = [];
  if (andAllAfter) {
    const [first = name.length] = at;
    for (let found = name.indexOf(text, first); found >= 0; found = name.indexOf(text, found + 1)) {
      ends.push(found + text.length);
    }
  } else {
    for (const start of at) if (name.startsWith(text, start)) ends.push(start + text.length);
  }
  return { at: ends, andAllAfter: false };
}

/** Everywhere from a start on, up to the next slash. */
function afterStar(name: string, starts: Ends): Ends {
  if (starts.andAllAfter) return starts;
  const ends: number[] = [];
  for (const start of starts.at) {
    const slash = name.indexOf('/', start);
    const last = slash < 0 ? name.length : slash;
    for (let end = Math.max(start, (ends.at(-1) ?? -1) + 1); end <= last; end++) ends.push(end);
  }
  return { at: ends, andAllAfter: false };
}
