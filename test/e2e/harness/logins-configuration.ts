import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KubernetesApi } from '../../identity/harness/kubernetes-api.js';
import type { MockIssuer } from '../../identity/harness/mock-issuer.js';
import { proxyClient } from '../../identity/harness/oauth2-provider.js';
import { type OpenIdProvider, registryClient } from '../../identity/harness/openid-provider.js';
import { groups, people, type Slapd } from '../../identity/harness/slapd.js';
import type { Certificate } from './certificate.js';
import { examplePlugin } from './example-plugin.js';

// All verifiers in one chain, and a repository for each:
//
//   VERIFIER/app    whom VERIFIER vouches for may pull it, by one rule in the words of that verifier
//   personal/app    operators of sso may; there is one, who signs in by browser
//   closed/app      nobody may

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

/** The ids, in the order of the chain. */
const verifierIds = [
  'corp',
  'sso',
  'ci',
  'cluster',
  'edge',
  'nodes',
  'hook',
  'program',
  'keys',
  'opaque',
  'legacy',
  'local',
] as const;
export type VerifierId = (typeof verifierIds)[number];

export const repositories = [...verifierIds, 'personal', 'closed'].map((one) => `${one}/app`);

/** Who judges logins. */
export interface LoginServers {
  readonly slapd: Slapd;
  readonly sso: OpenIdProvider;
  readonly ci: MockIssuer;
  readonly cluster: KubernetesApi;
  readonly edge: KubernetesApi;
  readonly legacy: OpenIdProvider;
  readonly hook: { readonly url: string; readonly token: string };
}

interface Given {
  /** The URL of the registry behind the proxy. */
  readonly registry: string;
  /** The proxy's own, which is the audience of tokens. */
  readonly host: string;
  readonly certificate: Certificate;
}

/** The verifiers as `docs/verifiers` shows them. What `startProxy` fills in is not there. */
export function loginsConfiguration(servers: LoginServers, { registry, host, certificate }: Given): object {
  return {
    tls: {
      ...{ certificate: certificate.certificate, key: certificate.key },
      clientCertificates: { ca: 'clients.pem' },
    },
    upstreams: { one: { url: registry } },
    routes: [{ prefix: '', upstream: 'one' }],
    verifiers: [
      ...ofIssuers(servers, [host]),
      { id: 'nodes', type: 'mtls', ca: 'clients.pem' },
      ...ofOnesOwn(servers),
      ...ofOAuth2(servers),
      { id: 'local', type: 'htpasswd', usernames: ['robot-*'], file: 'robots.htpasswd' },
    ],
    rememberLogins: { accepted: '0s', refused: '0s' }, // each login is to be judged anew
    signIn: {
      ...{ verifier: 'sso', clientId: registryClient.client_id, clientSecret: { file: 'sso-client' } },
      scopes: ['openid', 'profile', 'email', 'groups'],
    },
    policy: { rules: rules(), tests: tests() },
    token: { keys: { directory: 'keys' } },
    state: { type: 'file', path: 'state' },
    log: { level: 'debug' },
    audit: {},
  };
}

function ofIssuers({ slapd, sso, ci, cluster, edge }: LoginServers, audiences: readonly string[]) {
  return [
    {
      ...{ id: 'corp', type: 'ldap', url: slapd.secureUrl, ca: slapd.ca },
      bind: { dn: slapd.service.dn, password: { file: 'directory-password' } },
      search: { base: people, filter: '(uid={username})' },
      groups: { search: { base: groups, filter: '(member={dn})' }, nested: true },
      ...{ attributes: { email: 'mail' }, credentialVersionAttribute: 'pwdChangedTime' },
    },
    { id: 'sso', type: 'oidc', issuer: sso.issuer, audiences: ['registry'], groupsClaim: 'groups' },
    {
      ...{ id: 'ci', type: 'oidc', kind: 'machine', issuer: ci.url, audiences },
      attributes: { repository: 'repository', ref: 'ref' },
    },
    { id: 'cluster', type: 'kubernetes', audiences, issuer: cluster.issuer, ca: cluster.caFile },
    {
      ...{ id: 'edge', type: 'kubernetes', audiences, issuer: edge.issuer, ca: edge.caFile },
      review: { server: edge.url, token: { file: edge.reviewerTokenFile } },
    },
  ];
}

function ofOnesOwn({ hook }: LoginServers) {
  return [
    { id: 'hook', type: 'webhook', usernames: ['hook-*'], url: hook.url, token: { file: 'webhook-token' } },
    {
      ...{ id: 'program', type: 'exec', usernames: ['exec-*'] },
      command: [join(root, 'examples/exec/verify.mjs'), 'exec.json'],
    },
    { id: 'keys', module: examplePlugin, usernames: ['key-*'], file: 'keys.json' },
  ];
}

function ofOAuth2({ legacy: { issuer } }: LoginServers) {
  const client = { clientId: proxyClient.client_id, clientSecret: { file: 'oauth2-client' } };
  return [
    {
      ...{ id: 'opaque', type: 'oauth2-introspection', usernames: ['_oauth2'], passwords: true },
      ...{ issuer, ...client, clients: [client.clientId], kind: 'machine' },
    },
    {
      ...{ id: 'legacy', type: 'oauth2-password', issuer, ...client },
      ...{ scopes: ['openid', 'groups'], groupsClaim: 'groups' },
    },
  ];
}

function rules() {
  const allow = (who: object, id: VerifierId | 'personal') => ({
    ...who,
    ...{ repositories: [`${id}/**`], actions: ['pull'] },
  });
  const namespace = 'principal.attributes.namespace == "ci" && action == "pull"';
  const branch =
    'principal.attributes.repository == "acme/shop" && principal.attributes.ref == "refs/heads/main"';
  return [
    allow({ groups: ['corp:developers'] }, 'corp'),
    allow({ groups: ['sso:developers'] }, 'sso'),
    allow({ groups: ['sso:operators'] }, 'personal'),
    allow({ names: ['ci:*'], when: branch }, 'ci'),
    allow({ names: ['cluster:*'], when: namespace }, 'cluster'),
    allow(
      { names: ['edge:*'], when: `${namespace} && principal.attributes.pod.startsWith("build-")` },
      'edge',
    ),
    allow({ names: ['nodes:node-1'] }, 'nodes'),
    allow({ names: ['hook:hook-1'] }, 'hook'),
    allow({ names: ['program:exec-1'] }, 'program'),
    allow({ names: ['keys:key-tea'] }, 'keys'),
    allow({ names: ['opaque:bob'] }, 'opaque'),
    allow({ groups: ['legacy:developers'] }, 'legacy'),
    allow({ names: ['local:robot-1'] }, 'local'),
  ];
}

function tests() {
  const main = { repository: 'acme/shop', ref: 'refs/heads/main' };
  const job = { as: 'ci:repo:acme/shop', kind: 'machine', action: 'pull' };
  return [
    { ...job, attributes: main, repository: 'ci/app', expect: 'allow' },
    { ...job, attributes: { ...main, ref: 'refs/heads/feature' }, repository: 'ci/app', expect: 'deny' },
    { ...job, attributes: main, repository: 'closed/app', expect: 'deny' },
    { as: 'corp:alice', groups: ['developers'], repository: 'corp/app', action: 'pull', expect: 'allow' },
    { as: 'sso:alice', groups: ['developers'], repository: 'corp/app', action: 'pull', expect: 'deny' },
  ];
}
