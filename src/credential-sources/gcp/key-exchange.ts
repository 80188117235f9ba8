import {
  type AuthClient,
  ExternalAccountClient,
  type ExternalAccountClientOptions,
  Impersonated,
  JWT,
  UserRefreshClient,
} from 'google-auth-library';
import type { CallOptions } from '../../contracts/index.js';
import { untilAborted } from '../../decorators/single-flight.js';
import { RegistryError } from '../../errors.js';
import { Secret } from '../../secret.js';
import type { AccessToken } from './access-token.js';
import type { ExternalAccount } from './external-account.js';
import type { KeyFile } from './key-file.js';
import { type Callers, LibraryTransporter } from './library-transporter.js';

/** What registries want, of all scopes; what may be done with it is for the roles of the account to say. */
const scopes = ['https://www.googleapis.com/auth/cloud-platform'];

/**
 * Exchanges what a credential file holds for an access token. Each call makes a client of its own, so that nothing of the
 * library's is kept: no token that was refused, no request of another's.
 *
 * @throws RegistryError UNAVAILABLE
 */
export function openKeyExchange(callers: Callers): (key: KeyFile, o: CallOptions) => Promise<AccessToken> {
  return async (key, { signal }) => {
    const transporter = new LibraryTransporter(callers, key, signal);
    try {
      const client = clientFor(key, transporter);
      const { token } = await untilAborted(client.getAccessToken(), signal);
      if (!token) throw new Error('there is no token in the answer');
      const expiresAt = client.credentials.expiry_date;
      return { token: new Secret(token), ...(expiresAt && { expiresAt }) };
    } catch (error) {
      signal.throwIfAborted();
      throw transporter.failure ?? new RegistryError('UNAVAILABLE', { reason: reasonOf(key, error) });
    }
  };
}

function clientFor(key: KeyFile, own: LibraryTransporter): AuthClient {
  // Without its interceptors, which print tokens where GOOGLE_SDK_NODE_LOGGING is set.
  const common = { transporter: own.asGaxios(), useAuthRequestParameters: false };
  switch (key.type) {
    case 'service_account':
      return new JWT({ ...common, email: key.email, key: key.privateKey.reveal(), scopes });
    case 'authorized_user': {
      const { clientId, clientSecret, refreshToken } = key;
      const secrets = { clientSecret: clientSecret.reveal(), refreshToken: refreshToken.reveal() };
      return new UserRefreshClient({ ...common, clientId, ...secrets });
    }
    case 'external_account':
      return externalClient(key, common, own);
    case 'impersonated_service_account': {
      const sourceClient = clientFor(key.source, own);
      const { target: targetPrincipal, delegates } = key;
      return new Impersonated({
        ...{ ...common, sourceClient, targetPrincipal, targetScopes: scopes },
        delegates: [...delegates],
      });
    }
  }
}

function externalClient(key: ExternalAccount, common: object, own: LibraryTransporter): AuthClient {
  const settings = JSON.parse(key.settings.reveal()) as ExternalAccountClientOptions;
  const client = ExternalAccountClient.fromJSON({ ...settings, ...common, scopes });
  // The library asks the token service with a transport of its own: without our CA and proxy, and following redirects.
  const exchange: unknown = client && Reflect.get(client, 'stsCredential');
  if (client === null || typeof exchange !== 'object' || exchange === null || !('transporter' in exchange)) {
    throw new Error('google-auth-library is not the one this was made for');
  }
  exchange.transporter = own.asGaxios();
  return client;
}

/**
 * What failed without an answer that was told. The library's own words are not quoted: a parse error repeats what it read,
 * a header that is not well formed the token in it.
 */
function reasonOf(key: KeyFile, error: unknown): string {
  const source = key.type === 'impersonated_service_account' ? key.source : key;
  if (source.type !== 'external_account') return 'there is no token in the answer to the key file';
  return `the credential_source of the key file (${source.source}) ${whatFailed(error)}`;
}

function whatFailed(error: unknown): string {
  if (error instanceof SyntaxError) return 'gives no JSON';
  const words = error instanceof Error ? error.message : '';
  const known = libraryWords.find(([pattern]) => pattern.test(words));
  return known?.[1] ?? 'gives no token that can be exchanged';
}

const libraryWords: readonly (readonly [RegExp, string])[] = [
  [/^The file at .* does not exist/s, 'does not exist, or is not a file'],
  [/^Unable to parse the subject_token/, 'holds no token: look at its format'],
  [/^Unable to determine AWS region/, 'knows no region: set region_url, or AWS_REGION'],
  [/^Unable to determine AWS role name/, 'knows no role: set url, or AWS_ACCESS_KEY_ID and its like'],
];
