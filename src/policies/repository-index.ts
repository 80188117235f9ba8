import type { RepositoryGlob } from '../reference/repository-glob.js';
import type { Rule } from './rule.js';

/** A rule, and those of its patterns by which it stands in an index. */
export interface Entry {
  readonly rule: Rule;
  readonly globs: readonly RepositoryGlob[];
}

/** Finds rules by the text that a repository name must begin or end with, or by a component that must be in it. */
export class RepositoryIndex {
  readonly #beginnings = new Ends((name, length) => name.slice(0, length));
  readonly #endings = new Ends((name, length) => name.slice(name.length - length));
  readonly #components = new Map<string, Entry[]>();

  /** Rules are added in their order. */
  add(rule: Rule): void {
    for (const glob of rule.repositories) {
      const entry = { rule, globs: [glob] };
      const first = textOf(glob.parts[0]);
      const last = textOf(glob.parts.at(-1));
      const component = first === '' && last === '' ? componentOf(glob) : undefined;
      if (component !== undefined) addTo(this.#components, component, entry);
      else if (first.length >= last.length) this.#beginnings.add(first, entry);
      else this.#endings.add(last, entry);
    }
  }

  /** Finds the rule under every name, with all its patterns. */
  addWhole(rule: Rule): void {
    this.#beginnings.add('', { rule, globs: rule.repositories });
  }

  /** Puts there what a name has to be tried on, in lists that are each in the order of the rules. */
  collect(name: string, into: (readonly Entry[])[]): void {
    this.#beginnings.collect(name, into);
    this.#endings.collect(name, into);
    if (this.#components.size === 0) return;
    for (const component of new Set(name.split('/'))) {
      const found = this.#components.get(component);
      if (found) into.push(found);
    }
  }
}

function textOf(part: RepositoryGlob['parts'][number] | undefined): string {
  return part?.kind === 'literal' ? part.text : '';
}

/** A whole component that every name has which the pattern matches: what a literal part has between two slashes. */
function componentOf({ parts }: RepositoryGlob): string | undefined {
  return parts
    .map((part) => /\/([^/]+)\//.exec(textOf(part))?.[1])
    .find((component) => component !== undefined);
}

function addTo(entries: Map<string, Entry[]>, text: string, entry: Entry): void {
  const known = entries.get(text);
  if (known) known.push(entry);
  else entries.set(text, [entry]);
}

/** Entries by one end of the name. */
class Ends {
  readonly #endOf: (name: string, length: number) => string;
  readonly #byText = new Map<string, Entry[]>();
  readonly #lengths: number[] = [];

  constructor(endOf: (name: string, length: number) => string) {
    this.#endOf = endOf;
  }

  add(text: string, entry: Entry): void {
    addTo(this.#byText, text, entry);
    if (!this.#lengths.includes(text.length)) this.#lengths.push(text.length);
  }

  collect(name: string, into: (readonly Entry[])[]): void {
    for (const length of this.#lengths) {
      const found = length <= name.length ? this.#byText.get(this.#endOf(name, length)) : undefined;
      if (found) into.push(found);
    }
  }
}
