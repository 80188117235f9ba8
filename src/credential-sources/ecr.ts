import { z } from 'zod';
import { type DriverDependencies, defineDriver } from '../contracts/index.js';
import { HttpCaller } from '../outgoing/http-caller.js';
import { regionPattern } from '../reference/ecr-host.js';
import { secureUrl } from '../settings/secure-url.js';
import { serverKeys } from '../settings/server-keys.js';
import type { NewRepository } from './ecr/ecr-api.js';
import { EcrSource } from './ecr/ecr-source.js';

const roleArn = /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/;

const assumeRole = z.strictObject({
  arn: z
    .string()
    .regex(roleArn, 'expected the ARN of a role, such as arn:aws:iam::123456789012:role/pull')
    .describe('The role, of this account or another one, that trusts the identity that was found.'),
  externalId: z
    .string()
    .regex(/^[\w+=,.@:/-]{2,1224}$/, 'expected 2 to 1224 letters, digits and +=,.@:/-_')
    .optional()
    .describe("What the role's trust policy expects as `sts:ExternalId`."),
  sessionName: z
    .string()
    .regex(/^[\w+=,.@-]{2,64}$/, 'expected 2 to 64 letters, digits and +=,.@-_')
    .default('docker-registry-proxy')
    .describe("The session's name, as CloudTrail shows it."),
});

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
  profile: z
    .string()
    .min(1)
    .optional()
    .describe(
      'A profile of the shared AWS configuration (`~/.aws/config`, AWS_CONFIG_FILE). Without it the AWS credentials ' +
        'come from the first that has some: the environment, the profile AWS_PROFILE or `default`, a web identity ' +
        '(IRSA), the container (Pod Identity, ECS), the instance.',
    ),
  assumeRole: assumeRole.optional().describe('A role to take on with these AWS credentials.'),
  endpoint: secureUrl()
    .optional()
    .describe('The ECR API, where it is not at its usual place: a VPC endpoint without private DNS.'),
  createRepositories: z
    .union([z.boolean(), newRepository], { error: 'expected true, false or a mapping' })
    .default(false)
    .describe('Creates the private repository that a push does not find.'),
  ...serverKeys,
});

/** Milliseconds: metadata servers are near. */
const metadataTime = 1_000;

type EcrConfig = z.output<typeof config>;

/** Amazon ECR, private and public, with the identity that AWS gives this machine or pod. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'ecr',
  config,
  async open({ ca, proxy, timeout, createRepositories, ...settings }: EcrConfig, given: DriverDependencies) {
    const { id, baseDirectory, clock, log } = given;
    const http = await HttpCaller.open({ ca, proxy, timeout }, baseDirectory);
    const direct = await HttpCaller.open({ timeout: Math.min(timeout, metadataTime) }, baseDirectory);
    const newRepositories = newRepositoriesOf(createRepositories);
    return new EcrSource({ settings: { ...settings, newRepositories }, http, direct, id, clock, log });
  },
});

function newRepositoriesOf(setting: EcrConfig['createRepositories']): NewRepository | undefined {
  if (setting === false) return undefined;
  return setting === true ? newRepository.parse({}) : setting;
}
