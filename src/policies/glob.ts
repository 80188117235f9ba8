import type { AttributeValue, Principal } from '../contracts/principal.js';
import { isRepositoryComponent } from '../reference/repository-name.js';

type Part =
  | { readonly kind: 'literal'; readonly text: string }
  /** `*`: within one component */
  | { readonly kind: 'star' }
  /** `**`: anything, slashes included */
  | { readonly kind: 'stars' }
  /** `${principal.…}` */
  | { readonly kind: 'value'; readonly of: 'name' | { readonly attribute: string } };

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
 * True where the whole name matches. A principal's value stands for exactly one path component's text: a value that
 * could not be (a slash, a star, upper case) matches nothing, so it can neither inject a pattern nor climb a level.
 */
export function matchesGlob(glob: RepositoryGlob, name: string, who: Principal): boolean {
  // Where in the name the parts so far can end. Unlike a pattern of many stars this never tries the same place twice.
  let ends: ReadonlySet<number> = new Set([0]);
  for (const part of glob.parts) {
    if (part.kind === 'literal') ends = afterText(name, ends, part.text);
    else if (part.kind === 'star') ends = afterStar(name, ends, '/');
    else if (part.kind === 'stars') ends = afterStar(name, ends);
    else {
      const value = part.of === 'name' ? who.name : textOf(who.attributes[part.of.attribute]);
      if (value === undefined || !isRepositoryComponent(value)) return false;
      ends = afterText(name, ends, value);
    }
  }
  return ends.has(name.length);
}

function afterText(name: string, starts: ReadonlySet<number>, text: string): ReadonlySet<number> {
  return new Set([...starts].filter((at) => name.startsWith(text, at)).map((at) => at + text.length));
}

/** Everywhere from a start on, up to the first `border`. */
function afterStar(name: string, starts: ReadonlySet<number>, border?: string): ReadonlySet<number> {
  const ends = new Set<number>();
  for (const start of starts) {
    for (let at = start; at <= name.length && !ends.has(at); at++) {
      ends.add(at);
      if (name[at] === border) break;
    }
  }
  return ends;
}

function textOf(value: AttributeValue | undefined): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}
