import { isIP } from 'node:net';
import { z } from 'zod';
import { isRepositoryName } from '../reference/repository-name.js';
import { parseInstant } from '../settings/instant.js';
import { registryHostName } from '../settings/registry-host-name.js';

const action = z.enum(['pull', 'push', 'delete'], { error: 'expected pull, push or delete' });
const expectedName = "expected a principal with its verifier, such as 'corp:alice'";
const expectedAddress = 'expected an IP address';
const expectedTime = 'expected a time such as 2026-01-31T12:00:00Z';
const expectedRepository = 'expected a repository name in lower case, without host and tag, such as team/app';

/** A question to the policy, and the answer that is expected. Whatever the policy's driver is. */
export const policyTestSchema = z
  .strictObject({
    name: z.string().min(1).optional().describe('What is said when it fails.'),
    as: z
      .string({ error: expectedName })
      .regex(/^[^:\s]+:./s, expectedName)
      .describe("Who asks: 'corp:alice'."),
    groups: z
      .array(z.string(), { error: 'expected a list of groups' })
      .default([])
      .describe('Its groups, with or without the verifier.'),
    attributes: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]), {
        error: 'expected a mapping of attributes',
      })
      .default({})
      .describe('Its attributes.'),
    kind: z.enum(['human', 'machine', 'anonymous']).default('human').describe('Its kind.'),
    host: registryHostName().optional().describe('The host that is asked. Default: that of `externalUrl`.'),
    address: z
      .string({ error: expectedAddress })
      .refine((text) => isIP(text) !== 0, expectedAddress)
      .default('127.0.0.1')
      .describe("The client's address."),
    time: z
      .string({ error: expectedTime })
      .transform((text, context) => {
        const time = parseInstant(text);
        if (time !== undefined) return time;
        context.addIssue({ code: 'custom', message: expectedTime });
        return z.NEVER;
      })
      .optional()
      .describe('When it is asked, such as 2026-01-31T12:00:00Z. Default: now.'),
    repository: z
      .string({ error: expectedRepository })
      .refine((text): boolean => isRepositoryName(text), expectedRepository)
      .describe('What is asked for, as clients name it on that host.'),
    action: z
      .union([action.transform((one) => [one]), z.array(action).min(1)], {
        error: 'expected pull, push or delete, or a list of them',
      })
      .describe('Of several each is tried on its own. `push` needs `pull` as well, as it does for clients.'),
    expect: z
      .enum(['allow', 'deny'], { error: 'expected allow or deny' })
      .describe('For each of the actions.'),
  })
  .describe('What the policy has to say; `check` tries it.');

export type PolicyTest = z.output<typeof policyTestSchema>;
