import { z } from 'zod';
import { type DriverDependencies, defineDriver } from '../contracts/index.js';
import { openDirectCaller } from '../outgoing/metadata/direct-caller.js';
import { machineUsers } from '../protocol/identity-envelope.js';
import { duration } from '../settings/duration.js';
import { askForIdentity } from './gcp/identity-token.js';
import { timesUntil } from './gcp/metadata-server.js';
import { machineCredential } from './machine/machine-credential.js';
import { proofSource } from './machine/proof-source.js';

const config = z.strictObject({
  audience: z
    .string({ error: 'expected an audience' })
    .min(1, 'expected an audience')
    .optional()
    .describe(
      'Whom the token is for: one of `audiences` of the `gcp-identity` verifier. Without it, the registry that is asked, such as `docker.example.com`.',
    ),
  serviceAccount: z
    .string({ error: 'expected default, or the e-mail address of one' })
    .regex(/^(?:default|[a-z0-9._-]+@[a-z0-9.-]+)$/, 'expected default, or the e-mail address of one')
    .default('default')
    .describe('Which service account of the machine the token is of.'),
  timeout: duration({ min: '100ms', max: '1m' })
    .prefault('10s')
    .describe('How long to wait for the metadata server (GCE_METADATA_HOST).'),
});

type Settings = z.output<typeof config>;

/** The identity of a virtual machine of Google Cloud, for the `gcp-identity` verifier of another docker-registry-proxy. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'gcp-identity',
  config,
  async open({ serviceAccount, timeout, ...settings }: Settings, { clock }: DriverDependencies) {
    const caller = openDirectCaller({ timeout });
    return proofSource(settings.audience, {
      prove: async (audience, { signal }) => {
        const { token, expiresAt } = await askForIdentity(caller, { audience, serviceAccount, signal });
        return machineCredential(machineUsers.gcp, token.reveal(), timesUntil(expiresAt, clock.now()));
      },
      close: () => caller.close(),
    });
  },
});
