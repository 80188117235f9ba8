import type { AttributeValue, Principal } from '../contracts/principal.js';
import type { RepositoryGlob } from '../reference/repository-glob.js';
import type { Action } from '../reference/scope.js';
import type { Condition } from './condition/condition.js';
import type { RuleConfig } from './rule-schema.js';

/** Whom a rule is for; of one verifier each. */
export type Subject =
  | { readonly kind: 'everyone'; readonly verifier: string }
  | { readonly kind: 'name' | 'group'; readonly verifier: string; readonly text: string };

export interface Rule {
  /** How logs and `explain` name it: its place in the configuration. */
  readonly id: string;
  /** Its place among the rules. */
  readonly order: number;
  readonly subjects: readonly Subject[];
  readonly attributes: ReadonlyMap<string, readonly AttributeValue[]>;
  readonly repositories: readonly RepositoryGlob[];
  readonly actions: readonly Action[];
  readonly services: ReadonlySet<string>;
  readonly condition?: Condition;
}

/** What the names in a rule may mean. */
export interface Surroundings {
  /** The ids of all verifiers. */
  readonly verifiers: readonly string[];
  /** Those whose names and groups may be written without the verifier's id. */
  readonly mergedVerifiers: readonly string[];
  /** The hosts a rule without `services` speaks of. */
  readonly services: readonly string[];
}

/** @param at where the list of rules stands: `policy`. @throws Error with one line, naming the rule */
export function compileRule(config: RuleConfig, order: number, at: string, given: Surroundings): Rule {
  const id = `${at}[${order}]`;
  const named = (config.names ?? []).flatMap((text) => qualify(text, id, given));
  const grouped = (config.groups ?? []).flatMap((text) => qualify(text, id, given));
  const attributes = Object.entries(config.attributes ?? {}).map(
    ([name, value]) => [name, Array.isArray(value) ? value : [value]] as const,
  );
  return {
    id,
    order,
    subjects: [
      ...named.map(
        ({ verifier, text }): Subject =>
          text === '*' ? { kind: 'everyone', verifier } : { kind: 'name', verifier, text },
      ),
      ...grouped.map((one): Subject => ({ kind: 'group', ...one })),
    ],
    attributes: new Map(attributes),
    repositories: config.repositories,
    actions: config.actions,
    services: new Set(config.services ?? given.services),
    ...(config.when && { condition: config.when }),
  };
}

function qualify(
  text: string,
  id: string,
  { verifiers, mergedVerifiers }: Surroundings,
): readonly { readonly verifier: string; readonly text: string }[] {
  const colon = text.indexOf(':');
  if (colon < 0) {
    if (mergedVerifiers.length > 0) return mergedVerifiers.map((verifier) => ({ verifier, text }));
    throw new Error(`${id}: '${text}' names no verifier: write '${verifiers[0] ?? 'VERIFIER'}:${text}'`);
  }
  const verifier = text.slice(0, colon);
  if (verifiers.includes(verifier)) return [{ verifier, text: text.slice(colon + 1) }];
  throw new Error(`${id}: '${text}' names the verifier '${verifier}', and there is none of that id`);
}

/** True where a principal has all the attributes that a rule demands. */
export function hasAttributes({ attributes }: Rule, who: Principal): boolean {
  for (const [name, allowed] of attributes) {
    const value = Object.hasOwn(who.attributes, name) ? who.attributes[name] : undefined;
    const isAllowed = Array.isArray(value)
      ? value.some((one) => allowed.includes(one))
      : value !== undefined && allowed.includes(value);
    if (!isAllowed) return false;
  }
  return true;
}
