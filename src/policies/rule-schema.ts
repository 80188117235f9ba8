import { z } from 'zod';
import { parseGlob, type RepositoryGlob } from '../reference/repository-glob.js';
import { readableFile } from '../settings/file-path.js';
import { Condition } from './condition/condition.js';

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

const conditionSchema = z
  .string({ error: 'expected a CEL expression' })
  .transform((text, context): Condition => {
    const condition = Condition.parse(text);
    if (typeof condition !== 'string') return condition;
    context.addIssue({ code: 'custom', message: condition });
    return z.NEVER;
  });

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
    when: conditionSchema
      .optional()
      .describe(
        'Narrows the rule by a CEL expression over `principal`, `repository`, `action` and `request`. Where it fails, the rule grants nothing',
      ),
  })
  .refine((rule) => rule.names !== undefined || rule.groups !== undefined, {
    message: "expected 'names' or 'groups': whom the rule is for ('corp:*' is everyone of verifier corp)",
  });

export type RuleConfig = z.output<typeof ruleSchema>;

const rules = () => z.array(ruleSchema, { error: 'expected a list of rules' });

/**
 * A list of rules, the same under `rules`, or a file that has them. Whoever reads the configuration puts the file's
 * content in its place.
 */
export const rulesConfig = z.union(
  [
    rules(),
    z.strictObject({ rules: rules().describe('The rules.') }),
    z.strictObject({
      file: readableFile().describe(
        'A YAML file with `rules` and, if there are any, `tests`. A change of it is taken over like one of the configuration.',
      ),
    }),
  ],
  { error: 'expected a list of rules, { rules: … } or { file: NAME }' },
);

export type RulesConfig = z.output<typeof rulesConfig>;
