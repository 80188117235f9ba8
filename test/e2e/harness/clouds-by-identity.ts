import { startAcr } from '../../clouds/harness/acr-registry.js';
import { AwsIdentities, owner } from '../../clouds/harness/aws-identities.js';
import { startEntra } from '../../clouds/harness/azure-entra.js';
import { startIdentityEndpoint } from '../../clouds/harness/azure-identity-endpoint.js';
import { startEcrApi } from '../../clouds/harness/ecr-api.js';
import { startEcrPublicRegistry } from '../../clouds/harness/ecr-public-registry.js';
import { startEcrRegistry } from '../../clouds/harness/ecr-registry.js';
import { startGceMetadata } from '../../clouds/harness/gce-metadata.js';
import { startGoogleRegistry } from '../../clouds/harness/google-registry.js';
import { googleAccounts } from '../../clouds/harness/google-token-endpoint-accounts.js';
import { startImds } from '../../clouds/harness/imds.js';
import type { Cloud } from './clouds.js';

// Registries whose credential is the identity of the machine: nothing of it is in the configuration.

const isTokenRequest = (operation: string) => operation === 'GetAuthorizationToken';

/** As on a virtual machine of Google's: without a word about credentials. */
export const google: Cloud = {
  name: 'google',
  start: async ({ world, storage, onClose }) => {
    const accounts = googleAccounts();
    const metadata = await startGceMetadata(accounts);
    onClose(() => metadata.close());
    const host = 'europe-west1-docker.pkg.dev';
    const registry = startGoogleRegistry(world, accounts, storage, [host]);
    registry.roles.set(String(metadata.serviceAccount), 'writer');
    return {
      host,
      upstream: { url: host },
      asked: () => ({
        identities: metadata.asked.length,
        credentials: metadata.asked.length,
        tokens: world
          .requestsTo(host)
          .filter(({ path }) => path.startsWith('/v2/token?'))
          .map(({ path }) => new URLSearchParams(path.slice(path.indexOf('?'))).getAll('scope')),
      }),
      revoke: () => {
        accounts.revokeTokens();
        metadata.forgetToken();
        registry.revokeTokens();
      },
      shorten: (life) => {
        accounts.tokenLife = life;
        registry.tokenLife = life;
      },
      env: { GCE_METADATA_HOST: metadata.host },
      secrets: () => [...accounts.given, ...registry.given].map((secret) => ({ secret, hosts: [host] })),
    };
  },
};

/** As on an instance with a role; a push makes its repository. */
export const ecr: Cloud = {
  name: 'ecr',
  start: async ({ world, storage, way, onClose }) => {
    const identities = new AwsIdentities();
    const arn = `arn:aws:sts::${owner}:assumed-role/node-role/i-0123456789abcdef0`;
    const imds = await startImds(identities, arn);
    onClose(() => imds.close());
    const region = 'eu-west-1';
    const api = startEcrApi(world, identities, { region });
    const { host, addRepository } = startEcrRegistry(world, storage, api, owner);
    return {
      ...{ host, addRepository },
      asked: () => ({
        identities: imds.asked.filter((request) => /^GET .*\/security-credentials\/./.test(request)).length,
        credentials: api.asked.filter(isTokenRequest).length,
        tokens: [],
      }),
      revoke: () => api.expireAll(),
      shorten: (life) => {
        api.lifetime = life * 1000;
      },
      upstream: { url: host, credentials: { type: 'ecr', createRepositories: true, ...way } },
      env: { AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url },
      secrets: () => [
        ...[...api.passwords.keys()].map((secret) => ({ secret, username: 'AWS', hosts: [host] })),
        ...identities.secrets
          .filter((secret) => !api.passwords.has(secret))
          .map((secret) => ({ secret, hosts: [`api.ecr.${region}.amazonaws.com`] })),
      ],
    };
  },
};

/** The public registry, by the keys of a user. */
export const ecrPublic: Cloud = {
  name: 'ecr-public',
  start: ({ world, storage, way, workspace }) => {
    const identities = new AwsIdentities();
    const keys = identities.user('publisher');
    const api = startEcrApi(world, identities, { region: 'us-east-1', kind: 'public' });
    const registry = startEcrPublicRegistry(world, storage, api);
    const { host } = registry;
    const profile = `aws_access_key_id = ${keys.accessKeyId}\naws_secret_access_key = ${keys.secretAccessKey}\n`;
    const file = workspace.file('proxy/aws-credentials', `[publisher]\n${profile}`);
    return {
      host,
      asked: () => ({
        identities: 0,
        credentials: api.asked.filter(isTokenRequest).length,
        tokens: registry.tokens.map(() => ['aws']),
      }),
      revoke: () => {
        api.expireAll();
        registry.revokeTokens();
      },
      upstream: { url: host, credentials: { type: 'ecr', profile: 'publisher', ...way } },
      env: { AWS_SHARED_CREDENTIALS_FILE: file },
      secrets: () => [
        ...[...api.passwords.keys()].map((secret) => ({ secret, username: 'AWS', hosts: [host] })),
        ...registry.given.map((secret) => ({ secret, hosts: [host] })),
        { secret: keys.secretAccessKey, hosts: [] },
      ],
    };
  },
};

/** As on a virtual machine of Azure's with a managed identity. */
export const acr: Cloud = {
  name: 'acr',
  start: async ({ world, storage, way, onClose }) => {
    const entra = startEntra(world);
    const identity = entra.register();
    const endpoint = await startIdentityEndpoint(entra, 'imds', identity);
    onClose(() => endpoint.close());
    const registry = startAcr(world, { entra, storage });
    registry.roles.set(identity.clientId, ['AcrPush']);
    const { host, tokens } = registry;
    return {
      host,
      asked: () => ({
        identities: endpoint.requests.length,
        credentials: registry.exchanges.length,
        tokens: registry.tokenRequests.map(({ scopes }) => scopes),
      }),
      revoke: () => {
        tokens.revoke('refresh');
        tokens.revoke('access');
      },
      shorten: (life) => {
        tokens.refreshLifetime = life;
      },
      revokeTokens: () => tokens.revoke('access'),
      upstream: { url: host, credentials: { type: 'acr', ...way } },
      env: { AZURE_POD_IDENTITY_AUTHORITY_HOST: endpoint.url },
      secrets: () =>
        [...entra.given, ...tokens.given.refresh, ...tokens.given.access].map((secret) => ({
          secret,
          hosts: [host],
        })),
    };
  },
};
