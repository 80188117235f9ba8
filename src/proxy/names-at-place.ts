import type { RepositoryName } from '../reference/repository-name.js';
import type { Place } from '../routing/route-table.js';
import type { Verdicts } from './verdicts.js';

/** A repository of an upstream, and what it would be called; the routes know whether that name is its own. */
export interface Entry {
  readonly place: Place;
  readonly upstreamName: RepositoryName;
  readonly name: string;
  readonly verdicts: Verdicts;
  /** Its own among them. */
  readonly index: number;
}

/**
 * Walks through the names that an upstream's repositories would have at one place, without those known to be hidden. A
 * common prefix takes the place of another one, so they come in the order of the upstream's own.
 */
export class NamesAtPlace {
  readonly #place: Place;
  readonly #names: readonly RepositoryName[];
  readonly #verdicts: Verdicts;
  #at: number;
  #entry: Entry | undefined;

  /** @param names sorted  @param verdicts at this place  @param last only names after it */
  constructor(place: Place, names: readonly RepositoryName[], verdicts: Verdicts, last: string) {
    this.#place = place;
    this.#names = names;
    this.#verdicts = verdicts;
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
    const place = this.#place;
    const verdicts = this.#verdicts;
    while (verdicts.isHidden(this.#at)) this.#at++;
    const index = this.#at;
    const upstreamName = this.#names[index];
    if (upstreamName === undefined || !upstreamName.startsWith(place.rewrite)) return undefined;
    const name = place.prefix + upstreamName.slice(place.rewrite.length);
    return { place, upstreamName, name, verdicts, index };
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
