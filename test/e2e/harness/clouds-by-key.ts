import { randomUUID } from 'node:crypto';
import { startAcr } from '../../clouds/harness/acr-registry.js';
import { AwsIdentities, owner } from '../../clouds/harness/aws-identities.js';
import { startSts } from '../../clouds/harness/aws-sts.js';
import { createTokenIssuer, federationAudience, startEntra } from '../../clouds/harness/azure-entra.js';
import { startEcrApi } from '../../clouds/harness/ecr-api.js';
import { startEcrRegistry } from '../../clouds/harness/ecr-registry.js';
import { startGoogleRegistry } from '../../clouds/harness/google-registry.js';
import { startGoogleCloud } from '../../clouds/harness/google-token-endpoint-cloud.js';
import type { Cloud, CloudSite, StartedCloud } from './clouds.js';

// Registries whose credential is had with something secret that the configuration names. Started together: those of one
// cloud share its token endpoints.

/** Of Google: the key of a service account for a token, the key itself, and workload identity federation. */
export async function startGoogleKeys(site: CloudSite): Promise<Readonly<Record<string, StartedCloud>>> {
  const { world, storage, way, workspace, onClose } = site;
  const google = await startGoogleCloud(world);
  onClose(() => google.close());
  const hosts = { key: 'gcr.io', itself: 'eu.gcr.io', federation: 'us-docker.pkg.dev' };
  const registry = startGoogleRegistry(world, google.accounts, storage, Object.values(hosts));
  registry.roles.set(google.robot.email, 'writer');
  registry.roles.set(google.target.email, 'writer');
  const keyFile = workspace.file('proxy/robot.json', google.robot.keyFile);
  const subject = workspace.file('proxy/subject-token', google.subjectToken);
  const federation = google.federationFile({ impersonate: true, credential_source: { file: subject } });
  const federationFile = workspace.file('proxy/federation.json', federation);
  const { private_key: key } = JSON.parse(google.robot.keyFile) as { private_key: string };
  // Any line of a key is telling.
  const pieces = [...key.split('\n').slice(1, 4), google.robot.keyFile.trim()];
  const started = (
    host: string,
    credentials: object,
    own: readonly string[],
    to: readonly string[],
  ): StartedCloud => ({
    host,
    upstream: { url: host, credentials: { type: 'gcp', ...credentials, ...way } },
    asked: () => ({ identities: 0, credentials: google.accounts.given.length, tokens: [] }),
    revoke: () => google.accounts.revokeTokens(),
    secrets: () => [
      ...[...google.accounts.given, ...registry.given].map((secret) => ({
        secret,
        username: 'oauth2accesstoken',
        hosts: ['iamcredentials.googleapis.com', ...Object.values(hosts)],
      })),
      ...own.map((secret) => ({ secret, hosts: to })),
      ...world
        .requestsTo('oauth2.googleapis.com')
        .flatMap(({ body }) => new URLSearchParams(body).get('assertion') ?? [])
        .map((secret) => ({ secret, hosts: ['oauth2.googleapis.com'] })),
    ],
  });
  return {
    'google-key': started(hosts.key, { keyFile }, pieces, [hosts.itself]),
    'google-key-itself': started(hosts.itself, { keyFile, present: 'json-key' }, pieces, [hosts.itself]),
    'google-federation': started(
      hosts.federation,
      { keyFile: federationFile },
      [google.subjectToken],
      ['sts.googleapis.com'],
    ),
  };
}

/** By the keys of a user, who takes on a role. */
export const ecrRole: Cloud = {
  name: 'ecr-role',
  start: ({ world, storage, way, workspace }) => {
    const identities = new AwsIdentities();
    const keys = identities.user('deployer');
    const region = 'us-west-2';
    const arn = `arn:aws:iam::${owner}:role/pull`;
    identities.roles.set(arn, { trusts: keys.arn, externalId: 'for-the-proxy' });
    startSts(world, identities, region);
    const api = startEcrApi(world, identities, { region });
    const { host, addRepository } = startEcrRegistry(world, storage, api, owner);
    const lines = [
      `aws_access_key_id = ${keys.accessKeyId}`,
      `aws_secret_access_key = ${keys.secretAccessKey}`,
    ];
    const file = workspace.file('proxy/aws-config', `[profile deployer]\n${lines.join('\n')}\n`);
    const assumeRole = { arn, externalId: 'for-the-proxy' };
    return {
      ...{ host, addRepository },
      upstream: { url: host, credentials: { type: 'ecr', profile: 'deployer', assumeRole, ...way } },
      env: { AWS_CONFIG_FILE: file },
      asked: () => ({ identities: 0, credentials: api.asked.length, tokens: [] }),
      revoke: () => api.expireAll(),
      secrets: () => [
        ...[...api.passwords.keys()].map((secret) => ({ secret, username: 'AWS', hosts: [host] })),
        ...identities.secrets
          .filter((secret) => !api.passwords.has(secret))
          .map((secret) => ({ secret, hosts: [`api.ecr.${region}.amazonaws.com`] })),
      ],
    };
  },
};

/** Of Azure: an application with a secret, and one that trusts the token of a cluster. */
export function startAcrApplications(site: CloudSite): Readonly<Record<string, StartedCloud>> {
  const { world, storage, way, workspace, secretFile } = site;
  const entra = startEntra(world);
  const cluster = createTokenIssuer();
  const subject = 'system:serviceaccount:proxy:proxy';
  const clientSecret = `Q~${randomUUID()}~s`;
  const federated = [{ issuer: cluster.issuer, subject, audience: federationAudience, key: cluster.key }];
  const { clientId } = entra.register({ secrets: [clientSecret], federated });
  const token = cluster.token({ subject });
  const started = (host: string, credentials: object, own: string): StartedCloud => {
    const registry = startAcr(world, { entra, storage, host });
    registry.roles.set(clientId, ['AcrPush']);
    const { given } = registry.tokens;
    const { tenant } = entra;
    return {
      host,
      upstream: { url: host, credentials: { type: 'acr', tenant, clientId, ...credentials, ...way } },
      asked: () => ({ identities: 0, credentials: registry.exchanges.length, tokens: [] }),
      revoke: () => registry.tokens.revoke('refresh'),
      secrets: () => [
        { secret: own, hosts: ['login.microsoftonline.com'] },
        ...entra.given.map((secret) => ({ secret, hosts: ['fabrikam.azurecr.io', 'northwind.azurecr.io'] })),
        ...[...given.refresh, ...given.access].map((secret) => ({ secret, hosts: [host] })),
      ],
    };
  };
  const tokenFile = workspace.file('proxy/federated-token', token);
  return {
    'acr-secret': started(
      'fabrikam.azurecr.io',
      { clientSecret: { file: secretFile('client-secret', clientSecret) } },
      clientSecret,
    ),
    'acr-federated': started('northwind.azurecr.io', { tokenFile }, token),
  };
}

/** Each of several that start together, as a cloud of its own. */
export function together<N extends string>(
  names: readonly N[],
  start: (
    site: CloudSite,
  ) => Promise<Readonly<Record<string, StartedCloud>>> | Readonly<Record<string, StartedCloud>>,
): readonly Cloud[] {
  let started: ReturnType<typeof start> | undefined;
  return names.map((name) => ({
    name,
    start: async (site) => {
      started ??= start(site);
      const cloud = (await started)[name];
      if (cloud === undefined) throw new Error(`no cloud is called ${name}`);
      return cloud;
    },
  }));
}
