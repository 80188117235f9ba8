import { randomBytes, scryptSync } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { certify, createAuthority, type TestCertificate } from '../../../src/testing/certificates.js';
import { type MemoryRegistry, startMemoryRegistry } from '../../../src/testing/memory-registry.js';
import { tinyImageFor } from '../../../src/testing/tiny-image.js';
import { startKubernetesApi } from '../../identity/harness/kubernetes-api.js';
import { startMockIssuer } from '../../identity/harness/mock-issuer.js';
import { proxyClient, startOAuth2Provider, tokenFor } from '../../identity/harness/oauth2-provider.js';
import {
  type OpenIdProvider,
  registryClient,
  startOpenIdProvider,
} from '../../identity/harness/openid-provider.js';
import { type Slapd, startSlapd } from '../../identity/harness/slapd.js';
import { type Certificate, writeCertificate } from './certificate.js';
import { writeHtpasswd } from './docker-registry.js';
import { installExamplePlugin } from './example-plugin.js';
import { freePort } from './free-port.js';
import {
  type LoginServers,
  loginsConfiguration,
  repositories,
  type VerifierId,
} from './logins-configuration.js';
import { accepts, startProgram } from './program.js';
import { type ProxyAddress, proxyAddress } from './proxy.js';
import type { Workspace } from './workspace.js';

// A house with a door for everybody: each verifier there is, and somebody for each of them.

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
const name = 'docker.test';

/** Who shows a password: all but those of `nodes`, who show a certificate. */
export type PasswordVerifier = Exclude<VerifierId, 'nodes'>;

export interface Shown {
  readonly username: string;
  readonly password: string;
}

export interface LoginsHouse {
  readonly address: ProxyAddress;
  /** The proxy's configuration without what `startProxy` fills in. */
  readonly configuration: object;
  /** Of somebody whom the verifier vouches for, and may pull its repository. */
  readonly known: Readonly<Record<PasswordVerifier, Shown>>;
  /** Of others whom the same verifiers vouch for, and no rule's `when` lets in. */
  readonly leftOut: readonly Shown[];
  /** Signs in at sso by browser, and is an operator there. */
  readonly operator: { readonly login: string; readonly password: string };
  /** What `legacy` would take from somebody of this name in the directory, too. */
  readonly sameNameElsewhere: Shown;
  readonly slapd: Slapd;
  readonly legacyProvider: OpenIdProvider;
  /** Of the proxy. */
  readonly certificate: Certificate;
  /** Of a client, by the authority of `nodes`, and by another one of the same name. */
  readonly node: TestCertificate;
  readonly stranger: TestCertificate;
  /** Everything that nobody may read in a log, with whose it is. */
  readonly secrets: readonly (readonly [whose: string, secret: string])[];
}

/** Starts every server that judges logins, and writes the proxy's files. The proxy is not started. */
export async function startLoginsHouse(workspace: Workspace): Promise<LoginsHouse> {
  const address = await proxyAddress('https', name);
  const [certificate, registry, servers, nodes, others] = await Promise.all([
    writeCertificate(workspace, `DNS:${name}`),
    startRegistry(workspace),
    startServers(workspace, address),
    createAuthority({ name: 'nodes' }),
    createAuthority({ name: 'nodes' }),
  ]);
  const known = await admit(workspace, servers, address);
  const leftOut = await admitOthers(servers, address);
  const files = writeFiles(workspace, servers, nodes);
  installExamplePlugin(workspace, 'proxy');
  const operator = { login: 'carol', password: secret() };
  servers.sso.accounts.set(operator.login, {
    password: operator.password,
    claims: { groups: ['operators'] },
  });
  const sameNameElsewhere = { username: known.corp.username, password: secret() };
  servers.legacy.accounts.set(sameNameElsewhere.username, {
    password: sameNameElsewhere.password,
    claims: { groups: ['developers'] },
  });
  return {
    ...{ address, known, leftOut, operator, sameNameElsewhere, certificate },
    configuration: loginsConfiguration(servers, { registry: registry.url, host: address.host, certificate }),
    slapd: servers.slapd,
    legacyProvider: servers.legacy,
    node: await certify(nodes, { name: 'node-1' }),
    stranger: await certify(others, { name: 'node-1' }),
    secrets: [
      ...[...Object.values(known), ...leftOut].map(({ username, password }) => [username, password] as const),
      ...Object.entries(files),
      [operator.login, operator.password],
      [sameNameElsewhere.username, sameNameElsewhere.password],
      ['reviewer', servers.edge.reviewerToken],
    ],
  };
}

/** With characters that a careless client or server splits, decodes or escapes. */
function secret(): string {
  return `${randomBytes(9).toString('base64url')}:+%20&/=?"ü`;
}

async function startRegistry(workspace: Workspace): Promise<MemoryRegistry> {
  const registry = await startMemoryRegistry();
  workspace.onClose(() => registry.close());
  for (const repository of repositories) {
    registry.putImage(repository, '1', tinyImageFor('amd64', `${repository}\n`));
  }
  return registry;
}

async function startServers(workspace: Workspace, address: ProxyAddress): Promise<LoginServers> {
  const scope = { after: (stop: () => Promise<void> | void) => workspace.onClose(stop) };
  const closed = async <S extends { close(): Promise<void> }>(starting: Promise<S>): Promise<S> => {
    const server = await starting;
    workspace.onClose(() => server.close());
    return server;
  };
  return {
    slapd: await startSlapd(workspace),
    sso: await closed(startOpenIdProvider({ clients: [clientOf(address)] })),
    ci: await closed(startMockIssuer()),
    cluster: await startKubernetesApi(scope),
    edge: await startKubernetesApi(scope),
    legacy: await closed(startOAuth2Provider()),
    hook: await startExampleWebhook(workspace),
  };
}

/** What the provider knows the proxy as. */
function clientOf({ url }: ProxyAddress) {
  return { ...registryClient, redirect_uris: [`${url}/sign-in/callback`] };
}

/** `examples/webhook`, as its first lines say. */
async function startExampleWebhook(workspace: Workspace): Promise<LoginServers['hook']> {
  const token = randomBytes(16).toString('hex');
  const host = `127.0.0.1:${await freePort()}`;
  const users = workspace.file('hook/users.json', '{}');
  await startProgram(workspace, {
    command: process.execPath,
    args: [join(root, 'examples/webhook/server.mjs'), users, host.split(':')[1] ?? ''],
    env: { WEBHOOK_TOKEN: token },
    ready: () => accepts(host),
  });
  return { url: `http://${host}/`, token };
}

/** Gives somebody of each verifier what they log in with. */
async function admit(
  workspace: Workspace,
  { slapd, sso, ci, cluster, edge, legacy }: LoginServers,
  address: ProxyAddress,
): Promise<LoginsHouse['known']> {
  const passwords = { alice: secret(), olga: secret(), hook: secret(), exec: secret(), robot: secret() };
  const member = await slapd.addPerson('alice', passwords.alice);
  await slapd.addGroup('developers', [member]);
  legacy.accounts.set('olga', { password: passwords.olga, claims: { groups: ['developers'] } });
  const key = `key_${randomBytes(32).toString('base64url')}`;
  const sha256 = await digestOf(key);
  workspace.file('proxy/keys.json', JSON.stringify({ 'key-tea': { sha256 } }));
  workspace.file('hook/users.json', JSON.stringify({ 'hook-1': { scrypt: scryptOf(passwords.hook) } }));
  workspace.file('proxy/exec.json', JSON.stringify({ 'exec-1': { scrypt: scryptOf(passwords.exec) } }));
  await writeHtpasswd(workspace, 'proxy/robots.htpasswd', { 'robot-1': passwords.robot });
  const job = jobOf(address);
  const builder = { namespace: 'ci', name: 'builder', audiences: [address.host] };
  return {
    corp: { username: 'alice', password: passwords.alice },
    sso: { username: 'token', password: (await sso.signIn({ client: clientOf(address) })).id_token },
    ci: { username: 'ci', password: await ci.token((_header, payload) => Object.assign(payload, job)) },
    cluster: { username: '_kubernetes', password: await cluster.token(builder) },
    edge: { username: '_kubernetes', password: await edge.token({ ...builder, pod: 'build-1' }) },
    hook: { username: 'hook-1', password: passwords.hook },
    program: { username: 'exec-1', password: passwords.exec },
    keys: { username: 'key-tea', password: key },
    opaque: { username: '_oauth2', password: (await tokenFor(legacy, 'bob')).access_token },
    legacy: { username: 'olga', password: passwords.olga },
    local: { username: 'robot-1', password: passwords.robot },
  };
}

/** Another branch, another namespace, another pod. */
async function admitOthers(
  { ci, cluster, edge }: LoginServers,
  address: ProxyAddress,
): Promise<readonly Shown[]> {
  const branch = { ...jobOf(address), ref: 'refs/heads/feature' };
  const builder = { namespace: 'ci', name: 'builder', audiences: [address.host] };
  const tokens = [
    await ci.token((_header, payload) => Object.assign(payload, branch)),
    await cluster.token({ ...builder, namespace: 'web' }),
    await edge.token({ ...builder, pod: 'shell-1' }),
  ];
  return tokens.map((password) => ({ username: 'token', password }));
}

/** What a job's token says. */
function jobOf({ host }: ProxyAddress) {
  return { aud: host, sub: 'repo:acme/shop', repository: 'acme/shop', ref: 'refs/heads/main' };
}

async function digestOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', Buffer.from(text));
  return Buffer.from(digest).toString('hex');
}

/** As the users' files of the examples have it. */
function scryptOf(password: string): string {
  const salt = randomBytes(16);
  return `${salt.toString('hex')}:${scryptSync(password, salt, 32).toString('hex')}`;
}

/** @returns the secrets in them */
function writeFiles(
  workspace: Workspace,
  { hook, slapd }: LoginServers,
  nodes: TestCertificate,
): Readonly<Record<string, string>> {
  const files = {
    'sso-client': registryClient.client_secret,
    'oauth2-client': proxyClient.client_secret,
    'webhook-token': hook.token,
    'directory-password': slapd.service.password,
  };
  for (const [file, text] of Object.entries(files)) workspace.file(`proxy/${file}`, `${text}\n`);
  workspace.file('proxy/clients.pem', nodes.certificate);
  return files;
}
