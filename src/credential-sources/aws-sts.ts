import { z } from 'zod';
import { type CredentialSource, type DriverDependencies, defineDriver } from '../contracts/index.js';
import { untilAborted } from '../decorators/single-flight.js';
import { openAwsCallers } from '../outgoing/aws/aws-callers.js';
import { serverIdPattern } from '../protocol/sts-proof.js';
import { regionPattern } from '../reference/ecr-host.js';
import { awsIdentityKeys } from '../settings/aws-keys.js';
import { serverKeys } from '../settings/server-keys.js';
import { signedCall } from './aws-sts/signed-call.js';
import { proofSource } from './machine/proof-source.js';

const keys = z.strictObject({
  audience: z
    .string()
    .regex(serverIdPattern, 'expected a name without spaces and question marks, such as docker.example.com')
    .optional()
    .describe(
      'Whom requests are signed for: one of `audiences` of the verifier. Without it the host of the registry that is asked.',
    ),
  region: z
    .string()
    .regex(regionPattern, 'expected a region such as eu-west-1')
    .optional()
    .describe(
      "Whose STS is to say who this machine is; the verifier's side asks it. Without it AWS_REGION, AWS_DEFAULT_REGION, " +
        "the profile's, the instance's, else us-east-1.",
    ),
  identity: z
    .enum(['any', 'machine'], { error: 'expected any or machine' })
    .default('any')
    .describe(
      'Whose: `any`, the first AWS credentials that are found; `machine`, only what AWS gave to this pod, task or ' +
        "instance (a web identity, the container's, the instance's role), and no keys of the environment or of profiles.",
    ),
  ...awsIdentityKeys,
  ...serverKeys,
});

const config = keys.refine(({ identity, profile }) => identity === 'any' || profile === undefined, {
  path: ['profile'],
  error: 'is not for identity: machine, which looks at no profile',
});

/** For another docker-registry-proxy: a request to AWS STS, signed with the identity that AWS gives this machine or pod. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'aws-sts',
  config,
  async open(
    { ca, proxy, timeout, ...settings }: z.output<typeof config>,
    given: DriverDependencies,
  ): Promise<CredentialSource> {
    const callers = await openAwsCallers({ ca, proxy, timeout }, given);
    const { clock } = given;
    return proofSource(settings.audience, {
      // Some of the SDK's waits know of no signal.
      prove: (audience, o) => untilAborted(signedCall(audience, { settings, callers, clock }, o), o.signal),
      close: () => callers.close(),
    });
  },
});
