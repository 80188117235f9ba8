import { z } from 'zod';

const roleArn = /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/;

/** A role to take on with AWS credentials that were found (`AwsIdentitySettings`). */
export const assumedRole = z.strictObject({
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

/** Where AWS credentials come from: keys of every driver that has its own found (`findAwsIdentity`). */
export const awsIdentityKeys = {
  profile: z
    .string()
    .min(1)
    .optional()
    .describe(
      'A profile of the shared AWS configuration (`~/.aws/config`, AWS_CONFIG_FILE). Without it the AWS credentials ' +
        'come from the first that has some: the environment, the profile AWS_PROFILE or `default`, a web identity ' +
        '(IRSA), the container (Pod Identity, ECS), the instance.',
    ),
  assumeRole: assumedRole.optional().describe('A role to take on with these AWS credentials.'),
};
