import { z } from 'zod';
import {
  type Credential,
  type CredentialSource,
  type DriverDependencies,
  defineDriver,
} from '../contracts/index.js';
import { openSecret } from '../outgoing/open-secret.js';
import { secretSource } from '../settings/secret-source.js';

const config = z.union(
  [
    z.strictObject({
      username: z
        .string()
        .regex(/^[^:]+$/, 'expected a user name without a colon')
        .describe('The user name at the registry.'),
      password: secretSource().describe('The password or access token that belongs to `username`.'),
    }),
    z.strictObject({
      identityToken: secretSource().describe(
        'An OAuth2 refresh token, exchanged at the token endpoint: `identitytoken` of docker.',
      ),
    }),
    z.strictObject({
      registryToken: secretSource().describe('A Bearer token, sent as it is: `registrytoken` of docker.'),
    }),
  ],
  { error: 'expected username and password, or identityToken, or registryToken' },
);

/** One credential for all repositories. */
export const driver = defineDriver({
  apiVersion: 1,
  kind: 'credential-source',
  type: 'static',
  config,
  async open(settings: z.output<typeof config>, dependencies: DriverDependencies) {
    return source(await openCredential(settings, dependencies));
  },
});

async function openCredential(
  settings: z.output<typeof config>,
  dependencies: DriverDependencies,
): Promise<() => Promise<Credential>> {
  if ('username' in settings) {
    const { username } = settings;
    const password = await openSecret(settings.password, dependencies);
    return async () => ({ kind: 'basic', username, password: await password(), isConfigured: true });
  }
  if ('identityToken' in settings) {
    const token = await openSecret(settings.identityToken, dependencies);
    return async () => ({ kind: 'identity-token', token: await token() });
  }
  const token = await openSecret(settings.registryToken, dependencies);
  return async () => ({ kind: 'registry-token', token: await token() });
}

/** What was refused may be given again: it is not cached, and there is no other. */
function source(read: () => Promise<Credential>): CredentialSource {
  return {
    keyFor: () => '',
    credentialFor: async (_repository, { signal }) => {
      signal.throwIfAborted();
      return read();
    },
    close: async () => {},
  };
}
