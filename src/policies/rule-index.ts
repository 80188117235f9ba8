import type { Principal } from '../contracts/principal.js';
import { type Entry, RepositoryIndex } from './repository-index.js';
import type { Rule, Subject } from './rule.js';

/** Subjects times patterns up to which a rule stands under each pair of them. */
const maxPairs = 64;

/** The rules of one verifier's principals, by whom they are for. */
interface OfVerifier {
  readonly everyone: RepositoryIndex;
  readonly names: Map<string, RepositoryIndex>;
  readonly groups: Map<string, RepositoryIndex>;
}

/** Finds the few of many rules that can speak of a principal and a repository. */
export class RuleIndex {
  readonly #verifiers = new Map<string, OfVerifier>();

  constructor(rules: readonly Rule[]) {
    for (const rule of rules) {
      const isLarge = rule.subjects.length * rule.repositories.length > maxPairs;
      for (const index of new Set(rule.subjects.map((subject) => this.#indexOf(subject)))) {
        if (isLarge) index.addWhole(rule);
        else index.add(rule);
      }
    }
  }

  /** Of one principal; look it up once for many names. */
  of(who: Principal): RulesOfPrincipal {
    const known = this.#verifiers.get(who.verifier);
    if (known === undefined) return new RulesOfPrincipal([]);
    const { everyone, names, groups } = known;
    const indexes = [everyone, names.get(who.name), ...who.groups.map((group) => groups.get(group))];
    return new RulesOfPrincipal([...new Set(indexes.filter((index) => index !== undefined))]);
  }

  #indexOf(subject: Subject): RepositoryIndex {
    const { everyone, names, groups } = this.#ofVerifier(subject.verifier);
    if (subject.kind === 'everyone') return everyone;
    return ensure(subject.kind === 'name' ? names : groups, subject.text, () => new RepositoryIndex());
  }

  #ofVerifier(verifier: string): OfVerifier {
    return ensure(this.#verifiers, verifier, () => ({
      everyone: new RepositoryIndex(),
      names: new Map(),
      groups: new Map(),
    }));
  }
}

export class RulesOfPrincipal {
  readonly #indexes: readonly RepositoryIndex[];

  constructor(indexes: readonly RepositoryIndex[]) {
    this.#indexes = indexes;
  }

  /** What may speak of a repository, in the order of the rules; a rule may come several times, one after the other. */
  about(name: string): readonly Entry[] {
    const lists: (readonly Entry[])[] = [];
    for (const index of this.#indexes) index.collect(name, lists);
    const [first = [], ...others] = lists;
    return others.length === 0 ? first : lists.flat().sort((a, b) => a.rule.order - b.rule.order);
  }
}

function ensure<V>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
