import type { Principal } from '../contracts/principal.js';
import { globAttributes } from '../reference/repository-glob.js';
import type { Sights } from './condition/sights.js';
import type { Rule } from './rule.js';

/** What rules of one verifier's principals speak of. */
class Spoken {
  readonly groups = new Set<string>();
  readonly attributes = new Set<string>();
  allGroups = false;
  allAttributes = false;

  add({ groups, attributes }: Sights): void {
    if (groups === 'all') this.allGroups = true;
    else for (const group of groups) this.groups.add(group);
    if (attributes === 'all') this.allAttributes = true;
    else for (const attribute of attributes) this.attributes.add(attribute);
  }
}

/** Tells what of a principal can make a difference to a decision: only that has to be carried along. */
export class Relevance {
  readonly #verifiers = new Map<string, Spoken>();

  constructor(rules: readonly Rule[]) {
    for (const rule of rules) {
      const attributes = new Set([...rule.attributes.keys(), ...rule.repositories.flatMap(globAttributes)]);
      for (const subject of rule.subjects) {
        const spoken = this.#verifiers.get(subject.verifier) ?? new Spoken();
        this.#verifiers.set(subject.verifier, spoken);
        spoken.add({ groups: new Set(subject.kind === 'group' ? [subject.text] : []), attributes });
        if (rule.condition) spoken.add(rule.condition.sights);
      }
    }
  }

  of({ credentialVersion: _, ...who }: Principal): Principal {
    const spoken = this.#verifiers.get(who.verifier) ?? new Spoken();
    return {
      ...who,
      groups: who.groups.filter((group) => spoken.allGroups || spoken.groups.has(group)),
      attributes: Object.fromEntries(
        Object.entries(who.attributes).filter(
          ([name]) => spoken.allAttributes || spoken.attributes.has(name),
        ),
      ),
    };
  }
}
