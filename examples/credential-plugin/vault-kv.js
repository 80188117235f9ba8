// @ts-check
import {
  defineCredentialSource,
  duration,
  openSecret,
  RegistryError,
  Secret,
  secretSource,
  secureUrl,
  z,
} from 'docker-registry-proxy/plugin';

// What Vault's KV engine (version 2) answers: the secret is in `data.data`.
const found = z.object({
  data: z.object({ data: z.object({ username: z.string().min(1), password: z.string().min(1) }) }),
});

export const driver = defineCredentialSource({
  type: 'vault-kv',
  config: z.strictObject({
    address: secureUrl().describe('Of the Vault server: `https://vault.example.com:8200`.'),
    path: z
      .string()
      .regex(/^[\w-][\w.-]*(?:\/[\w-][\w.-]*)+$/, 'expected a path such as secret/data/registries/hub')
      .describe('Of the secret with `username` and `password`, as Vault’s API has it.'),
    token: secretSource().describe('What Vault lets us in with.'),
    refresh: duration({ min: '1s', max: '1d' })
      .prefault('5m')
      .describe('How long a password is used before Vault is asked again.'),
  }),

  async open({ address, path, token, refresh }, dependencies) {
    const url = new URL(`/v1/${path}`, address);
    const vaultToken = await openSecret(token, dependencies); // a file that is missing is told at the start

    return {
      // One credential for every repository. Without this each would be asked for on its own.
      keyFor: () => path,

      // Called when one is needed that is not held, when it is to be refreshed, and when the registry has refused what
      // was given (`rejected`). Vault is asked each time, so what was refused comes again only where it has no other.
      // Sharing, keeping, refreshing and backing off are the proxy's.
      async credentialFor(_target, { signal }) {
        const { username, password } = await read(url, await vaultToken(), signal);
        return {
          kind: 'basic',
          username,
          password: new Secret(password), // prints as [secret], wherever it gets
          refreshAt: dependencies.clock.now() + refresh, // still used after that, while Vault does not answer
        };
      },

      close: async () => undefined, // here end timers, watchers and pools
    };
  },
});

/**
 * @param {URL} url
 * @param {Secret} token
 * @param {AbortSignal} signal
 */
async function read(url, token, signal) {
  const response = await fetch(url, {
    headers: { 'x-vault-token': token.reveal() },
    redirect: 'error', // the token is for this server
    signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
  }).catch((/** @type {unknown} */ cause) => {
    signal.throwIfAborted();
    throw new RegistryError('UNAVAILABLE', { reason: `Vault does not answer at ${url.host}`, cause });
  });
  const body = await response.json().catch(() => undefined); // its error would quote the text
  // "There is none, go on without" would be undefined. Here somebody said that there is one: it is UNAVAILABLE then.
  // The reason is for the log and `check --connect`: what answered what, and never what was shown.
  if (response.status !== 200) {
    throw new RegistryError('UNAVAILABLE', { reason: `Vault answers ${response.status} to ${url.pathname}` });
  }
  const parsed = found.safeParse(body);
  if (parsed.success) return parsed.data.data.data;
  throw new RegistryError('UNAVAILABLE', { reason: `no username and password at ${url.pathname} in Vault` });
}
