import { z } from 'zod';
import { type DriverDependencies, defineDriver } from '../contracts/index.js';
import { openAwsCallers } from '../outgoing/aws/aws-callers.js';
import { regionPattern } from '../reference/ecr-host.js';
import { awsIdentityKeys } from '../settings/aws-keys.js';
import { secureUrl } from '../settings/secure-url.js';
import { serverKeys } from '../settings/server-keys.js';
import type { NewRepository } from './ecr/ecr-api.js';
import { EcrSource } from './ecr/ecr-source.js';

const newRepository = z.strictObject({
  immutableTags: z.boolean().default(false).describe('Nobody can overwrite a tag.'),
  scanOnPush: z.boolean().default(false).describe('Each image is scanned when it was pushed.'),
  tags: z
    .record(z.string().min(1).max(128), z.string().max(256))
    .refine((tags) => Object.keys(tags).length <= 50, 'expected at most 50 tags')
    .prefault({})
    .describe('Resource tags of a new repository.'),
});

const config = z.strictObject({
  region: z
    .string()
    .regex(regionPattern, 'expected a region such as eu-west-1')
    .optional()
    .describe("The registry's region. Found in its host name, and needed where that is none of Amazon's."),
  registry: z
    .string({ error: 'expected the 12 digits of an account, in quotes' })
    .regex(/^\d{12}$/, 'expected the 12 digits of an account, in quotes')
    .optional()
    .describe(
      "The account whose registry it is, for `createRepositories`. Found in the host name; without either it is the identity's own.",
    ),
  ...awsIdentityKeys,
  endpoint: secureUrl()
    .optional()
    .describe('The ECR API, where it is not at its usual place: a VPC endpoint without private DNS.'),
  createRepositories: z
    .union([z.boolean(), newRepository], { error: 'expected true, false or a mapping' })
    .default(false)
    .describe('Creates the private repository that a push does not find.'),
  ...serverKeys,
});

type EcrConfig = z.output<typeof config>;

/** Amazon ECR, private and public, with the identity that AWS gives this machine or pod. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'ecr',
  config,
  async open({ ca, proxy, timeout, createRepositories, ...settings }: EcrConfig, given: DriverDependencies) {
    const { id, clock, log } = given;
    const callers = await openAwsCallers({ ca, proxy, timeout }, given);
    const newRepositories = newRepositoriesOf(createRepositories);
    return new EcrSource({ settings: { ...settings, newRepositories }, callers, id, clock, log });
  },
});

function newRepositoriesOf(setting: EcrConfig['createRepositories']): NewRepository | undefined {
  if (setting === false) return undefined;
  return setting === true ? newRepository.parse({}) : setting;
}
