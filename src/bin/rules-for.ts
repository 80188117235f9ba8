import { z } from 'zod';
import type { Configuration } from '../config/configuration.js';
import type { Principal } from '../contracts/index.js';

/** More are not shown. */
const maxRules = 5;

/** As much of the built-in policy's parsed rules as is shown. */
const rulesSchema = z.array(
  z.object({
    names: z.array(z.string()).default([]),
    groups: z.array(z.string()).default([]),
    repositories: z.array(z.object({ text: z.string() })),
    actions: z.array(z.string()),
    services: z.array(z.string()).optional(),
  }),
);

/** The first rules that name this principal at all, in a line each; none where the policy is not the built-in one. */
export function rulesFor({ policy, mergedVerifiers }: Configuration, who: Principal): readonly string[] {
  const rules = policy.driver.type === 'rules' ? rulesSchema.safeParse(policy.config).data : undefined;
  const merged = mergedVerifiers.includes(who.verifier);
  const isOne = (texts: readonly string[], names: readonly string[]) =>
    names.some((name) => texts.includes(`${who.verifier}:${name}`) || (merged && texts.includes(name)));
  return (rules ?? [])
    .flatMap(({ names, groups, repositories, actions, services }, i) => {
      const speaksOf = isOne(names, [who.name, '*']) || isOne(groups, who.groups);
      const patterns = repositories.map(({ text }) => text).join(', ');
      const where = services === undefined ? '' : ` on ${services.join(', ')}`;
      return speaksOf ? [`policy[${i}] allows ${actions.join(', ')} of ${patterns}${where}`] : [];
    })
    .slice(0, maxRules);
}
