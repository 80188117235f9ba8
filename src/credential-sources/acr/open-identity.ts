import type { DriverDependencies } from '../../contracts/index.js';
import { HttpCaller } from '../../outgoing/http-caller.js';
import { openDirectCaller } from '../../outgoing/metadata/direct-caller.js';
import { openSecret } from '../../outgoing/open-secret.js';
import { isGuid } from '../../reference/guid.js';
import { FilePath } from '../../settings/file-path.js';
import { isSecureUrl } from '../../settings/secure-url.js';
import { ClientCredentials } from './client-credentials.js';
import type { EntraIdentity } from './entra-token.js';
import { identityEndpoint, ManagedIdentity } from './managed-identity.js';
import { type AcrSettings, isTenant } from './settings.js';

const publicCloud = 'https://login.microsoftonline.com';

/**
 * The identity that the settings mean; what they leave open, the variables of AKS workload identity say.
 *
 * @throws an Error with a one-line message
 */
export async function openIdentity(
  settings: AcrSettings,
  environment: Readonly<Record<string, string | undefined>>,
  dependencies: DriverDependencies,
): Promise<EntraIdentity> {
  const { identity, audience, clientSecret, tenant, clientId = '' } = settings;
  if (clientSecret !== undefined) {
    const proof = { kind: 'secret', read: await openSecret(clientSecret, dependencies) } as const;
    const http = await HttpCaller.open(settings, dependencies.baseDirectory);
    const authority = new URL(settings.authority ?? publicCloud);
    return new ClientCredentials({ http, authority, tenant: tenant ?? '', clientId, audience, proof });
  }
  const federated = federation(settings, environment);
  if (federated !== undefined) {
    const { file, ...application } = federated;
    const proof = { kind: 'assertion', read: await openSecret({ file }, dependencies) } as const;
    const http = await HttpCaller.open(settings, dependencies.baseDirectory);
    return new ClientCredentials({ http, audience, proof, ...application });
  }
  if (identity === 'federated') {
    throw new Error(
      'there is no tokenFile, and AZURE_FEDERATED_TOKEN_FILE is not set: has the pod the label azure.workload.identity/use: "true"?',
    );
  }
  if (tenant !== undefined) throw new Error('tenant stands without clientSecret or tokenFile');
  const endpoint = identityEndpoint(environment);
  const http = openDirectCaller({ timeout: settings.timeout });
  return new ManagedIdentity({ http, endpoint, audience, ...(clientId !== '' && { clientId }) });
}

/** @returns undefined where there is no token file, or none is wanted */
function federation(settings: AcrSettings, environment: Readonly<Record<string, string | undefined>>) {
  if (settings.identity === 'managed') return undefined;
  const named = environment.AZURE_FEDERATED_TOKEN_FILE;
  const file = settings.tokenFile ?? (named ? new FilePath(named, 'file') : undefined);
  if (file === undefined) return undefined;
  const tenant = settings.tenant ?? environment.AZURE_TENANT_ID ?? '';
  const clientId = settings.clientId ?? environment.AZURE_CLIENT_ID ?? '';
  const authority = settings.authority ?? (environment.AZURE_AUTHORITY_HOST || publicCloud);
  if (!isTenant(tenant)) throw new Error('tenant is missing, and AZURE_TENANT_ID names none');
  if (!isGuid(clientId)) throw new Error('clientId is missing, and AZURE_CLIENT_ID names none');
  if (!isSecureUrl(authority)) throw new Error('the variable AZURE_AUTHORITY_HOST is not an https URL');
  return { file, tenant, clientId, authority: new URL(authority) };
}
