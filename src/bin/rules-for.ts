import { z } from 'zod';
import type { Configuration } from '../config/configuration.js';
import type { Principal } from '../contracts/index.js';
import { shorten } from '../reference/repository-name.js';

/** More are not shown. */
const maxRules = 5;

const ruleSchema = z.object({
  names: z.array(z.string()).default([]),
  groups: z.array(z.string()).default([]),
  repositories: z.array(z.object({ text: z.string() })),
  actions: z.array(z.string()),
  services: z.array(z.string()).optional(),
  when: z.object({ text: z.string() }).optional(),
});

/** As much of the built-in policy's parsed rules as is shown. */
const rulesSchema = z.union([
  z.array(ruleSchema).transform((rules) => ({ at: 'policy', rules })),
  z.object({ rules: z.array(ruleSchema) }).transform(({ rules }) => ({ at: 'policy.rules', rules })),
]);

type KnownRule = z.output<typeof ruleSchema>;

/** The built-in policy's rules, and where they stand; none where another one decides. */
export function knownRules({ policy }: Configuration): {
  readonly at: string;
  readonly rules: readonly KnownRule[];
} {
  const known = policy.driver.type === 'rules' ? rulesSchema.safeParse(policy.config).data : undefined;
  return known ?? { at: 'policy', rules: [] };
}

/** The first rules that name this principal at all, in a line each; none where the policy is not the built-in one. */
export function rulesFor(configuration: Configuration, who: Principal): readonly string[] {
  return namingRules(configuration, who)
    .slice(0, maxRules)
    .map(({ id, rule: { repositories, actions, services, when } }) => {
      const patterns = repositories.map(({ text }) => text).join(', ');
      const where = services === undefined ? '' : ` on ${services.join(', ')}`;
      const condition = when === undefined ? '' : ` when ${onOneLine(when.text)}`;
      return `${id} allows ${actions.join(', ')} of ${patterns}${where}${condition}`;
    });
}

/** True where a rule that names this principal has a condition. */
export function hasConditionFor(configuration: Configuration, who: Principal): boolean {
  return namingRules(configuration, who).some(({ rule }) => rule.when !== undefined);
}

function namingRules(
  configuration: Configuration,
  who: Principal,
): readonly { readonly id: string; readonly rule: KnownRule }[] {
  const { at, rules } = knownRules(configuration);
  const merged = configuration.mergedVerifiers.includes(who.verifier);
  const isOne = (texts: readonly string[], names: readonly string[]) =>
    names.some((name) => texts.includes(`${who.verifier}:${name}`) || (merged && texts.includes(name)));
  return rules
    .map((rule, i) => ({ id: `${at}[${i}]`, rule }))
    .filter(({ rule }) => isOne(rule.names, [who.name, '*']) || isOne(rule.groups, who.groups));
}

/** Whole: what decides may stand at its end. */
function onOneLine(condition: string): string {
  return shorten(condition.trim().replace(/\s*\n\s*/g, ' '), condition.length);
}
