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

/** The first rules that name this principal at all, in a line each; none where the policy is not the built-in one. */
export function rulesFor({ policy, mergedVerifiers }: Configuration, who: Principal): readonly string[] {
  const known = policy.driver.type === 'rules' ? rulesSchema.safeParse(policy.config).data : undefined;
  const merged = mergedVerifiers.includes(who.verifier);
  const isOne = (texts: readonly string[], names: readonly string[]) =>
    names.some((name) => texts.includes(`${who.verifier}:${name}`) || (merged && texts.includes(name)));
  return (known?.rules ?? [])
    .flatMap(({ names, groups, repositories, actions, services, when }, i) => {
      const speaksOf = isOne(names, [who.name, '*']) || isOne(groups, who.groups);
      const patterns = repositories.map(({ text }) => text).join(', ');
      const where = services === undefined ? '' : ` on ${services.join(', ')}`;
      const condition = when === undefined ? '' : ` when ${shorten(when.text, 80)}`;
      const rule = `${known?.at}[${i}] allows ${actions.join(', ')} of ${patterns}${where}${condition}`;
      return speaksOf ? [rule] : [];
    })
    .slice(0, maxRules);
}
