import type { RepositoryName } from '../reference/repository-name.js';
import type { Place } from '../routing/route-table.js';

/** A repository of an upstream, and what it would be called; the routes know whether that name is its own. */
export interface Entry {
  readonly place: Place;
  readonly upstreamName: RepositoryName;
  readonly name: string;
}

/**
 * Walks through the names that an upstream's repositories would have at one place. A common prefix takes the place of
 * another one, so they come in the order of the upstream's own.
 */
export class NamesAtPlace {
  readonly #place: Place;
  readonly #names: readonly RepositoryName[];
  #at: number;
  #entry: Entry | undefined;

  /** @param names sorted  @param last only names after it */
  constructor(place: Place, names: readonly RepositoryName[], last: string) {
    this.#place = place;
    this.#names = names;
    this.#at = start(place, names, last);
    this.#entry = this.#read();
  }

  /** The present one; undefined at the end. */
  get entry(): Entry | undefined {
    return this.#entry;
  }

  advance(): void {
    this.#at++;
    this.#entry = this.#read();
  }

  #read(): Entry | undefined {
    const { prefix, rewrite } = this.#place;
    const upstreamName = this.#names[this.#at];
    if (upstreamName === undefined || !upstreamName.startsWith(rewrite)) return undefined;
    return { place: this.#place, upstreamName, name: prefix + upstreamName.slice(rewrite.length) };
  }
}

/** Where the names after `last` begin. */
function start({ prefix, rewrite }: Place, names: readonly string[], last: string): number {
  if (last.startsWith(prefix)) {
    const after = rewrite + last.slice(prefix.length);
    return firstWhere(names, (name) => name > after);
  }
  return last > prefix ? names.length : firstWhere(names, (name) => name >= rewrite);
}

/** @param holds false for the first ones, then true */
function firstWhere(names: readonly string[], holds: (name: string) => boolean): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(names[middle] ?? '')) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The entries of all, in the order of their names. */
export function* merged(all: readonly NamesAtPlace[]): Generator<Entry, void> {
  for (;;) {
    let first: { readonly list: NamesAtPlace; readonly entry: Entry } | undefined;
    for (const list of all) {
      const { entry } = list;
      if (entry !== undefined && (first === undefined || entry.name < first.entry.name))
        first = { list, entry };
    }
    if (first === undefined) return;
    first.list.advance();
    yield first.entry;
  }
}

/** The next ones, so many at most. */
export function take<V>(from: Iterator<V, void>, count: number): readonly V[] {
  const taken: V[] = [];
  while (taken.length < count) {
    const { value, done } = from.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}
