import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import {
  type AttributeValue,
  type CallOptions,
  type Decision,
  type DriverKinds,
  type Policy,
  type Principal,
  qualifiedName,
  type RequestContext,
} from '../contracts/index.js';
import { type Action, normalizeActions, type Scope } from '../reference/scope.js';
import { globAttributes, matchesGlob, parseGlob, type RepositoryGlob } from './glob.js';

const globSchema = z
  .string({ error: "expected a repository pattern such as 'team/**'" })
  .transform((text, context): RepositoryGlob => {
    const glob = parseGlob(text);
    if (typeof glob !== 'string') return glob;
    context.addIssue({ code: 'custom', message: glob });
    return z.NEVER;
  });

const qualified = z
  .string({ error: "expected a name such as 'corp:alice'" })
  .regex(
    /^[^\s:*][^*]*(?::\*)?$/s,
    "expected a name such as 'corp:alice', or 'corp:*' for everyone of a verifier",
  );

/** No star: `corp:*` would look like everyone, and a group of that name can be made by whoever makes groups. */
const qualifiedGroup = z
  .string({ error: "expected a group such as 'corp:developers'" })
  .regex(
    /^[^\s:*][^*]*$/s,
    "expected a group such as 'corp:developers'; everyone of a verifier is names: ['corp:*']",
  );

const attributeValue = z.union([z.string(), z.number(), z.boolean()]);

const ruleSchema = z
  .strictObject({
    names: z
      .array(qualified)
      .min(1)
      .optional()
      .describe(
        "Whom the rule is for: 'corp:alice', or 'corp:*' for everyone whom verifier `corp` vouches for",
      ),
    groups: z
      .array(qualifiedGroup)
      .min(1)
      .optional()
      .describe(
        "Whom the rule is for: members of a group of a verifier, 'corp:developers'. Either list is enough",
      ),
    attributes: z
      .record(z.string(), z.union([attributeValue, z.array(attributeValue).min(1)]))
      .optional()
      .describe(
        'Narrows the rule to principals with all of these attributes; a list means one of its values',
      ),
    repositories: z
      .array(globSchema)
      .min(1, 'expected at least one repository pattern')
      .describe(
        'Repositories as clients name them. `*` is within a path component, `**` is anything; `${principal.name}` and `${principal.attributes.NAME}` stand for one component',
      ),
    actions: z
      .array(z.enum(['pull', 'push', 'delete'], { error: 'expected pull, push or delete' }))
      .min(1, 'expected at least one of pull, push, delete')
      .describe('What is allowed'),
    services: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe(
        'Narrows the rule to some served hosts, or to registries of `token.services`. Default: all served hosts',
      ),
  })
  .refine((rule) => rule.names !== undefined || rule.groups !== undefined, {
    message: "expected 'names' or 'groups': whom the rule is for ('corp:*' is everyone of verifier corp)",
  });

type RuleConfig = z.output<typeof ruleSchema>;

interface Rule {
  /** How logs and `explain` name it: its place in the configuration. */
  readonly id: string;
  readonly names: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
  readonly attributes: ReadonlyMap<string, readonly AttributeValue[]>;
  readonly repositories: readonly RepositoryGlob[];
  readonly actions: readonly Action[];
  readonly services: ReadonlySet<string>;
}

class RulesPolicy implements Policy {
  readonly #rules: readonly Rule[];
  readonly #groups: ReadonlySet<string>;
  readonly #attributes: ReadonlySet<string>;

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
    this.#groups = new Set(rules.flatMap((rule) => [...rule.groups]));
    this.#attributes = new Set(
      rules.flatMap((rule) => [...rule.attributes.keys(), ...rule.repositories.flatMap(globAttributes)]),
    );
  }

  async decide(
    who: Principal,
    wanted: readonly Scope[],
    request: RequestContext,
    o: CallOptions,
  ): Promise<readonly Decision[]> {
    o.signal.throwIfAborted();
    const applicable = this.#rules.filter((rule) => rule.services.has(request.service) && isFor(rule, who));
    return wanted.map((scope) => {
      const matching = applicable.filter((rule) => speaksOf(rule, scope, who));
      const allowed = normalizeActions(matching.flatMap((rule) => rule.actions));
      const granted = scope.actions.filter((action) => allowed.includes(action));
      const rule = matching.find((candidate) => candidate.actions.some((action) => granted.includes(action)));
      return { wanted: scope, granted, ...(rule && { rule: rule.id }) };
    });
  }

  relevant({ credentialVersion: _, ...who }: Principal): Principal {
    return {
      ...who,
      groups: who.groups.filter((group) => this.#groups.has(`${who.verifier}:${group}`)),
      attributes: Object.fromEntries(
        Object.entries(who.attributes).filter(([name]) => this.#attributes.has(name)),
      ),
    };
  }

  async close(): Promise<void> {}
}

function isFor(rule: Rule, who: Principal): boolean {
  const named = rule.names.has(qualifiedName(who)) || rule.names.has(`${who.verifier}:*`);
  if (!named && !who.groups.some((group) => rule.groups.has(`${who.verifier}:${group}`))) return false;
  return [...rule.attributes].every(([name, allowed]) => {
    const value = Object.hasOwn(who.attributes, name) ? who.attributes[name] : undefined;
    return Array.isArray(value)
      ? value.some((one) => allowed.includes(one))
      : value !== undefined && allowed.includes(value);
  });
}

/** The catalogue is not a repository: rules grant it nothing. */
function speaksOf(rule: Rule, scope: Scope, who: Principal): boolean {
  return scope.type === 'repository' && rule.repositories.some((glob) => matchesGlob(glob, scope.name, who));
}

function compile(config: RuleConfig, index: number, given: DriverKinds['policy']['given']): Rule {
  const id = `policy[${index}]`;
  const qualify = (text: string): readonly string[] => {
    const colon = text.indexOf(':');
    if (colon < 0) {
      if (given.mergedVerifiers.length > 0)
        return given.mergedVerifiers.map((verifier) => `${verifier}:${text}`);
      throw new Error(
        `${id}: '${text}' names no verifier: write '${given.verifiers[0] ?? 'VERIFIER'}:${text}'`,
      );
    }
    const verifier = text.slice(0, colon);
    if (given.verifiers.includes(verifier)) return [text];
    throw new Error(`${id}: '${text}' names the verifier '${verifier}', and there is none of that id`);
  };
  const attributes = Object.entries(config.attributes ?? {}).map(
    ([name, value]) => [name, Array.isArray(value) ? value : [value]] as const,
  );
  return {
    id,
    names: new Set((config.names ?? []).flatMap(qualify)),
    groups: new Set((config.groups ?? []).flatMap(qualify)),
    attributes: new Map(attributes),
    repositories: config.repositories,
    actions: config.actions,
    services: new Set(config.services ?? given.services),
  };
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'policy',
  type: 'rules',
  config: z.array(ruleSchema, { error: 'expected a list of rules' }),
  open: async (config, given): Promise<Policy> =>
    new RulesPolicy(config.map((rule, index) => compile(rule, index, given))),
});
