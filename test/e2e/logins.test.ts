import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestCertificate } from '../../src/testing/certificates.js';
import { basic, claimsOf } from '../harness/index.js';
import { signInForToken } from '../identity/harness/personal-token.js';
import { sendTls } from '../identity/harness/tls-client.js';
import { failedWith, succeeded } from './harness/command.js';
import { type Dockerd, startDockerd } from './harness/dockerd.js';
import { formsOf, refuseSecrets } from './harness/front.js';
import { repositories } from './harness/logins-configuration.js';
import { type LoginsHouse, type Shown, startLoginsHouse } from './harness/logins-house.js';
import { type OwnEtc, ownEtc } from './harness/own-etc.js';
import { runProxyCommand, startProxy } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// docker and skopeo log in through each verifier there is. All stand in one chain, so that each login also passes by
// those whose it is not.

const refused = /denied|unauthorized|authentication required|insufficient/i;
const unavailable = /\b503\b|unavailable/i;
/** In the handshake: how it is told depends on who notices first. */
const cutOff = /EOF|connection reset|tls:/;

/** Somebody who logs in. */
interface Row extends Shown {
  /** What the verifier is called here. */
  readonly by: string;
  readonly principal: string;
  /** The one repository there is for them. */
  readonly pulls: string;
  /** Another one. */
  readonly mayNot: string;
  /** The directory is not asked about them, or not before somebody has vouched for them. */
  readonly withoutDirectory: boolean;
}

function rowsOf({ known }: LoginsHouse, token: Shown): readonly Row[] {
  const rows: readonly (readonly [by: string, Shown, principal: string, pulls: string, how?: 'in order'])[] =
    [
      ['ldap', known.corp, 'corp:alice', 'corp/app', 'in order'],
      ['oidc', known.sso, 'sso:alice', 'sso/app'],
      ['oidc of CI', known.ci, 'ci:repo:acme/shop', 'ci/app'],
      ['kubernetes by discovery', known.cluster, 'cluster:ci/builder', 'cluster/app'],
      ['kubernetes by review', known.edge, 'edge:ci/builder', 'edge/app'],
      ['oauth2-introspection', known.opaque, 'opaque:bob', 'opaque/app'],
      ['oauth2-password', known.legacy, 'legacy:olga', 'legacy/app', 'in order'],
      ['personal access token', token, 'sso:carol', 'personal/app'],
      ['module', known.keys, 'keys:key-tea', 'keys/app'],
      ['webhook', known.hook, 'hook:hook-1', 'hook/app'],
      ['exec', known.program, 'program:exec-1', 'program/app'],
      ['htpasswd', known.local, 'local:robot-1', 'local/app'],
    ];
  return rows.map(([by, shown, principal, pulls, how], i) => {
    const [, , , mayNot = ''] = rows[(i + 1) % rows.length] ?? [];
    return { by, ...shown, principal, pulls, mayNot, withoutDirectory: how === undefined };
  });
}

/** Of the same form: the end is another one. */
function wrong({ password }: Shown): string {
  return `${password.slice(0, -10)}AAAAAAAAAA`;
}

/** Asks the proxy as curl would. */
function asker({ address }: LoginsHouse, workspace: Workspace) {
  const [name = '', port] = address.host.split(':');
  const ca = workspace.read('tls/certs/ca.crt');
  const server = { address: '::1', name } as const;
  const send = (path: string, headers: Readonly<Record<string, string>>, client?: TestCertificate) =>
    sendTls(Number(port), path, { ca, server, client, headers: { host: address.host, ...headers } });
  /** What a login is granted of everything there is: the status where there is no token. */
  const granted = async (headers: Readonly<Record<string, string>>, client?: TestCertificate) => {
    const scopes = repositories.map((repository) => `scope=repository:${repository}:pull,push`);
    const path = `/token?service=${address.host}&${scopes.join('&')}`;
    const { status, text } = await send(path, headers, client);
    if (status !== 200) return status;
    const { sub, access } = claimsOf((JSON.parse(text) as { token: string }).token);
    return [sub, ...access.map(({ name: repository, actions }) => `${repository}:${actions}`)].join(' ');
  };
  return {
    ask: (path: string, headers: Readonly<Record<string, string>>) => send(path, headers),
    grantedTo: ({ username, password }: Shown) => granted({ authorization: basic(username, password) }),
    grantedBy: (client?: TestCertificate) => granted({}, client),
  };
}

test('logins', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr', 'openssl', 'slapd', 'unshare')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const house = await startLoginsHouse(workspace);
  const { address, slapd } = house;
  const { host } = address;
  const proxy = await startProxy(workspace, address, house.configuration);
  const { ask, grantedTo, grantedBy } = asker(house, workspace);
  const { token: password } = await signInForToken(ask, address.url, house.operator);
  const rows = rowsOf(house, { username: 'carol', password });
  const etc = ownEtc(workspace, { [host.split(':')[0] ?? '']: '::1' });
  etc.setCertificates(host, { 'ca.crt': workspace.read('tls/certs/ca.crt') });
  const { docker } = await startDockerd(workspace, {}, etc);
  const clients: Clients = { workspace, house, etc, docker };

  await t.test('the configuration is checked, with what its policy says', async () => {
    const { output } = succeeded(
      await runProxyCommand(workspace, 'check', '--config', workspace.path('proxy/proxy.yaml')),
    );
    assert.match(output, /: fine, policy tests passed: 5$/m);
  });

  await t.test('each gets a token for their own repository, and for nothing else', async () => {
    for (const row of rows) {
      assert.equal(await grantedTo(row), `${row.principal} ${row.pulls}:pull`, row.by);
      assert.equal(await grantedTo({ ...row, password: wrong(row) }), 401, row.by);
    }
    assert.equal(await grantedBy(house.node), 'nodes:node-1 nodes/app:pull');
    assert.equal(await grantedBy(undefined), 401);
  });

  await t.test('a condition leaves others of the same verifier out', async () => {
    const principals = ['ci:repo:acme/shop', 'cluster:web/builder', 'edge:ci/builder'];
    assert.deepEqual(await Promise.all(house.leftOut.map(grantedTo)), principals);
  });

  await t.test('a name of two verifiers is that of the first', async () => {
    const asked = house.legacyProvider.requests.length;
    assert.equal(await grantedTo(house.sameNameElsewhere), 401);
    assert.equal(house.legacyProvider.requests.length, asked, 'the second was shown the password');
  });

  await t.test('without a login nothing is pulled', async () => {
    failedWith(await docker(['pull', `${host}/corp/app:1`], { client: 'nobody' }), refused);
  });

  for (const row of rows) {
    await t.test(`docker, by ${row.by}`, () => dockerLogsIn(clients, row));
    await t.test(`skopeo, by ${row.by}`, () => skopeoLogsIn(clients, row));
  }

  await t.test('docker, by mtls', () => dockerShowsCertificate(clients, rows));
  await t.test('skopeo, by mtls', () => skopeoShowsCertificate(clients));

  await t.test('while the directory is down its people wait, and nobody else does', async () => {
    await slapd.stop();
    const asked = house.legacyProvider.requests.length;
    assert.equal(await grantedBy(house.node), 'nodes:node-1 nodes/app:pull');
    assert.equal(await grantedTo(house.sameNameElsewhere), 503);
    assert.equal(house.legacyProvider.requests.length, asked, 'another verifier was asked');
    for (const row of rows) {
      const expected = row.withoutDirectory ? `${row.principal} ${row.pulls}:pull` : 503;
      assert.equal(await grantedTo(row), expected, row.by);
    }
    for (const row of rows.filter(({ by }) => ['ldap', 'htpasswd', 'oidc'].includes(by))) {
      const login = ['login', '-u', row.username, '--password-stdin', host];
      const result = await docker(login, { input: row.password, client: 'while it is down' });
      if (row.withoutDirectory) succeeded(result);
      else failedWith(result, unavailable);
    }
  });

  await t.test('once it is back they log in again', async () => {
    await slapd.restart();
    for (const row of rows) {
      assert.equal(await grantedTo(row), `${row.principal} ${row.pulls}:pull`, row.by);
    }
    for (const row of rows.filter(({ by }) => by === 'ldap')) await dockerLogsIn(clients, row, 'again');
  });

  await t.test('no secret is in the output of the proxy', () => {
    const wrongs = rows.map((row) => [row.username, wrong(row)] as const);
    const all = [...house.secrets, ['carol', password] as const, ...wrongs];
    refuseSecrets(proxy.output(), all.flatMap(formsOf));
  });
});

interface Clients {
  readonly workspace: Workspace;
  readonly house: LoginsHouse;
  readonly etc: OwnEtc;
  readonly docker: Dockerd['docker'];
}

async function dockerLogsIn({ house, docker }: Clients, row: Row, client = row.by): Promise<void> {
  const { host } = house.address;
  const login = ['login', '-u', row.username, '--password-stdin', host];
  failedWith(await docker(login, { input: wrong(row), client }), /unauthorized/i);
  succeeded(await docker(login, { input: row.password, client }));
  succeeded(await docker(['pull', `${host}/${row.pulls}:1`], { client }));
  for (const repository of [row.mayNot, 'closed/app']) {
    failedWith(await docker(['pull', `${host}/${repository}:1`], { client }), refused);
  }
  succeeded(await docker(['image', 'rm', '--force', `${host}/${row.pulls}:1`]));
}

async function skopeoLogsIn({ workspace, house, etc }: Clients, row: Row): Promise<void> {
  const { host } = house.address;
  const client = skopeo(workspace, `skopeo-${row.pulls.split('/')[0]}`, etc);
  const trust = ['--cert-dir', house.certificate.directory];
  const login = ['login', ...trust, '-u', row.username, '--password-stdin', host];
  const inspect = (repository: string) => ['inspect', ...trust, '--raw', `docker://${host}/${repository}:1`];
  failedWith(await client(login, wrong(row)), /invalid username|unauthorized/i);
  succeeded(await client(login, row.password));
  succeeded(await client(inspect(row.pulls)));
  const target = `dir:${workspace.path(`copy-${row.pulls.replace('/', '-')}`)}`;
  const copy = ['copy', '--src-cert-dir', house.certificate.directory];
  succeeded(await client([...copy, `docker://${host}/${row.pulls}:1`, target]));
  for (const repository of [row.mayNot, 'closed/app']) {
    failedWith(await client(inspect(repository)), refused);
  }
}

/** Its daemon finds the certificate in `/etc/docker/certs.d`; nobody logs in. */
async function dockerShowsCertificate(
  { workspace, house, etc, docker }: Clients,
  rows: readonly Row[],
): Promise<void> {
  const { host } = house.address;
  const pull = (repository: string, client: string) =>
    docker(['pull', `${host}/${repository}:1`], { client });
  const ca = { 'ca.crt': workspace.read('tls/certs/ca.crt') };
  const show = ({ certificate, privateKey }: TestCertificate) =>
    etc.setCertificates(host, { ...ca, 'client.cert': certificate, 'client.key': privateKey });
  show(house.stranger);
  failedWith(await pull('nodes/app', 'node'), cutOff);
  show(house.node);
  succeeded(await pull('nodes/app', 'node'));
  for (const repository of ['corp/app', 'closed/app']) failedWith(await pull(repository, 'node'), refused);
  // A password beside the certificate is what counts.
  const [row] = rows;
  assert.ok(row, 'there is nobody');
  failedWith(await pull('nodes/app', row.by), refused);
  succeeded(await pull(row.pulls, row.by));
  const login = ['login', '-u', '_mtls', '--password-stdin', host];
  succeeded(await docker(login, { input: 'anything', client: 'mtls' }));
  etc.setCertificates(host, ca);
  failedWith(await docker(login, { input: 'anything', client: 'mtls' }), /unauthorized/i);
  failedWith(await pull('nodes/app', 'node'), refused);
}

async function skopeoShowsCertificate({ workspace, house, etc }: Clients): Promise<void> {
  const { host } = house.address;
  const client = skopeo(workspace, 'skopeo-mtls', etc);
  const directoryOf = (name: string, { certificate, privateKey }: TestCertificate) => {
    workspace.file(`${name}/ca.crt`, workspace.read('tls/certs/ca.crt'));
    workspace.file(`${name}/client.cert`, certificate);
    workspace.file(`${name}/client.key`, privateKey);
    return workspace.path(name);
  };
  const inspect = (directory: string, repository: string) =>
    client(['inspect', '--cert-dir', directory, '--raw', `docker://${host}/${repository}:1`]);
  const node = directoryOf('certs-of-node', house.node);
  succeeded(await inspect(node, 'nodes/app'));
  for (const repository of ['corp/app', 'closed/app']) failedWith(await inspect(node, repository), refused);
  failedWith(await inspect(house.certificate.directory, 'nodes/app'), refused);
  failedWith(await inspect(directoryOf('certs-of-stranger', house.stranger), 'nodes/app'), cutOff);
  const login = ['login', '-u', '_mtls', '--password-stdin', host];
  succeeded(await client([...login, '--cert-dir', node], 'anything'));
  failedWith(
    await client([...login, '--cert-dir', house.certificate.directory], 'anything'),
    /invalid username|unauthorized/i,
  );
}
