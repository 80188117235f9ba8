import { z } from 'zod';
import { assumedRole, awsIdentityKeys } from '../../settings/aws-keys.js';
import { duration } from '../../settings/duration.js';
import { readableDirectory } from '../../settings/file-path.js';
import { namePattern } from '../../settings/name-pattern.js';
import { serverKeys } from '../../settings/server-keys.js';
import { awsPartitionsKey, awsRegions, checkAwsRegions } from '../machine/aws-regions.js';
import { awsAccounts } from '../machine/settings.js';

const expectedRole =
  'expected the ARN of a role, such as arn:aws:iam::{accountId}:role/see-instances; {accountId} stands for the account';

const patterns = (what: string) =>
  z
    .array(namePattern(), { error: `expected a list of ${what}` })
    .min(1, `expected at least one; leave it out where all ${what} count`)
    .optional();

const describeInstances = z.strictObject({
  profile: awsIdentityKeys.profile,
  assumeRole: assumedRole
    .extend({
      arn: z
        .string({ error: expectedRole })
        .regex(/^arn:aws[a-z-]*:iam::(?:\d{12}|\{accountId\}):role\/[\w+=,.@/-]{1,512}$/, expectedRole)
        .describe(
          "A role that trusts this proxy's identity; `{accountId}` stands for the account of the instance.",
        ),
    })
    .optional()
    .describe('A role to take on: with it instances of other accounts than our own are seen.'),
  ...serverKeys,
});

export type DescribeInstancesSettings = z.output<typeof describeInstances>;

export const awsIdentitySettings = z
  .strictObject({
    certificates: readableDirectory().describe(
      "A directory of `REGION.pem`: AWS's certificates for documents in the RSA-2048 form, as `docker-registry-proxy aws-certificates` writes them. It is read again when it changes.",
    ),
    accounts: awsAccounts().describe('Whose instances count.'),
    regions: awsRegions()
      .optional()
      .describe(
        'Only instances of these; each must have its certificate. Without it those of every region of `partitions` whose name has a known form; one that does not must be named here.',
      ),
    partitions: awsPartitionsKey(),
    instanceTypes: patterns('instance types').describe('Only these: `m6i.*`. `*` stands for any characters.'),
    imageIds: patterns('images').describe(
      'Only instances that were made from these: `ami-0123456789abcdef0`.',
    ),
    firstUse: z
      .enum(['address', 'nonce', 'none'], { error: 'expected address, nonce or none' })
      .default('address')
      .describe(
        'A document never ends, so that it is bound to who shows it first. `address`: its instance counts only from the address it came from first (for IPv6 its /64). `nonce`: only together with the secret that it came with first (`nonce` of the credential source). `none`: whoever has a document is its instance, for ever. Kept in `state`.',
      ),
    bindingIdle: duration({ min: '1h' })
      .prefault('90d')
      .describe('An instance that did not come for so long is bound no more, and the next use is its first.'),
    maxAge: duration({ min: '1m' })
      .optional()
      .describe(
        'How long ago an instance may have been launched (`pendingTime`) at its first use. It counts at that alone: afterwards the instance may get as old as it likes.',
      ),
    describeInstances: z
      .union([z.boolean(), describeInstances], { error: 'expected true, false or a mapping' })
      .default(false)
      .describe(
        'Asks EC2 (`ec2:DescribeInstances`) whether the instance still runs, at most once a minute each. With `true` as the identity that AWS gives this proxy.',
      ),
  })
  .refine(({ maxAge, firstUse }) => maxAge === undefined || firstUse !== 'none', {
    path: ['maxAge'],
    error: 'counts at the first use, and with firstUse: none there is none',
  })
  .superRefine(checkAwsRegions)
  .transform(({ describeInstances: wanted, ...settings }) => ({
    ...settings,
    describeInstances: wanted === true ? describeInstances.parse({}) : wanted || undefined,
  }));

export type AwsIdentitySettings = z.output<typeof awsIdentitySettings>;
