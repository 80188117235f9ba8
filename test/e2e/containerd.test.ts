import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import { failedWith, succeeded } from './harness/command.js';
import { startContainerd, writeHosts } from './harness/containerd.js';
import { startFront } from './harness/front.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

/** A registry that asks for a password and takes none. */
async function startChallenger() {
  const authorizations: string[] = [];
  const { url, close } = await startLoopbackServer((request, response) => {
    authorizations.push(request.headers.authorization ?? '');
    response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="another"' }).end();
  });
  /** The header of every request so far; empty where it had none. */
  return { url, close, authorizations: (): readonly string[] => authorizations };
}

/** Writes a hosts directory for docker.io with a mirror that is shown Basic credentials. @returns its path */
function writeMirror(
  workspace: Workspace,
  name: string,
  { mirror, server, basic }: Readonly<Record<'mirror' | 'server' | 'basic', string>>,
): string {
  const text = `
server = "${server}"

[host."${mirror}"]
  capabilities = ["pull", "resolve"]

  [host."${mirror}".header]
    authorization = ["Basic ${basic}"]
`;
  workspace.file(`mirrors/${name}/docker.io/hosts.toml`, text);
  return workspace.path('mirrors', name);
}

const refused = /denied|unauthorized|authorization failed|authentication required|insufficient|forbidden/i;

test('containerd', async (t) => {
  if (!requirePrograms(t, 'containerd', 'ctr')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, open, image, passwords, assertNoSecretWritten } = await startFront(workspace);
  const { host } = proxy;
  const { ctr, pull } = await startContainerd(workspace);
  const hosts = ['--hosts-dir', writeHosts(workspace, host, proxy.url)];
  const alice = [...hosts, '--user', `alice:${passwords.alice}`];
  const bob = [...hosts, '--user', `bob:${passwords.bob}`];

  await t.test('is refused without credentials', async () => {
    failedWith(await pull(`${host}/open/tiny:1`, hosts), refused);
  });

  await t.test('is refused with a wrong password', async () => {
    failedWith(await pull(`${host}/open/tiny:1`, [...hosts, '--user', 'alice:wrong']), refused);
  });

  for (const repository of ['open/tiny', 'closed/tiny']) {
    await t.test(`pulls ${repository} by tag and by digest`, async () => {
      succeeded(await pull(`${host}/${repository}:1`, alice));
      succeeded(await pull(`${host}/${repository}@${image.digest}`, alice));
      const listed = succeeded(await ctr(['images', 'list', `name==${host}/${repository}:1`]));
      assert.ok(listed.stdout.includes(image.digest), listed.stdout);
      await forget(`${host}/${repository}:1`, `${host}/${repository}@${image.digest}`);
    });
  }

  await t.test('pulls without a hosts directory', async () => {
    const user = ['--plain-http', '--user', `alice:${passwords.alice}`];
    succeeded(await pull(`${host}/closed/tiny:2`, user));
    await forget(`${host}/closed/tiny:2`);
  });

  await t.test('pulls from the proxy as a mirror', async () => {
    const before = open.output().length;
    const mirror = ['--hosts-dir', writeHosts(workspace, 'docker.io', proxy.url)];
    succeeded(await pull('docker.io/team/tiny:1', [...mirror, '--user', `alice:${passwords.alice}`]));
    assert.match(open.output().slice(before), /\/v2\/team\/tiny\/manifests\//);
    await forget('docker.io/team/tiny:1');
    failedWith(await pull('docker.io/team/tiny:2', [...mirror, '--user', `bob:${passwords.bob}`]), refused);
  });

  // As Kubernetes nodes do: what `--user` says would go to the `server` as well.
  await t.test('shows a mirror the header of its hosts.toml, and the server nothing', async () => {
    const server = await startChallenger();
    t.after(() => server.close());
    const header = (user: string) => Buffer.from(user).toString('base64');
    const hostsOf = (name: string, user: string) => [
      '--hosts-dir',
      writeMirror(workspace, name, { mirror: proxy.url, server: server.url, basic: header(user) }),
    ];
    const asAlice = hostsOf('alice', `alice:${passwords.alice}`);
    succeeded(await pull('docker.io/team/tiny:1', asAlice));
    await forget('docker.io/team/tiny:1');
    assert.deepEqual(server.authorizations(), []);
    failedWith(await pull('docker.io/team/absent:1', asAlice), /./);
    failedWith(await pull('docker.io/team/tiny:2', hostsOf('bob', `bob:${passwords.bob}`)), refused);
    failedWith(await pull('docker.io/team/tiny:2', hostsOf('wrong', 'alice:wrong')), refused);
    const asked = server.authorizations();
    assert.ok(asked.length >= 3, 'the server was not asked');
    assert.deepEqual([...new Set(asked)], ['']);
  });

  await t.test('goes around a refusal where the hosts.toml names another server', async () => {
    const hosts = { mirror: proxy.url, server: open.url, basic: 'd3Jvbmc6d3Jvbmc=' };
    succeeded(await pull('docker.io/team/tiny:1', ['--hosts-dir', writeMirror(workspace, 'around', hosts)]));
    await forget('docker.io/team/tiny:1');
  });

  await t.test('is refused a mirror that is not listed', async () => {
    const mirror = ['--hosts-dir', writeHosts(workspace, 'quay.io', proxy.url)];
    failedWith(await pull('quay.io/team/tiny:1', [...mirror, '--user', `alice:${passwords.alice}`]), /./);
  });

  await t.test('is refused what no rule allows', async () => {
    failedWith(await pull(`${host}/hidden/tiny:1`, alice), refused);
    failedWith(await pull(`${host}/hidden/absent:1`, alice), refused);
    failedWith(await pull(`${host}/closed/tiny:1`, bob), refused);
  });

  await t.test('is told what is not there', async () => {
    failedWith(await pull(`${host}/open/absent:1`, alice), /not found/i);
    failedWith(await pull(`${host}/closed/tiny:absent`, alice), /not found/i);
  });

  await t.test('is told that nothing can be pushed', async () => {
    succeeded(await pull(`${host}/open/tiny:1`, alice));
    succeeded(await ctr(['images', 'tag', `${host}/open/tiny:1`, `${host}/closed/pushed:ctr`]));
    const push = [
      'images',
      'push',
      '--platform',
      'linux/amd64',
      '--plain-http',
      '--user',
      `alice:${passwords.alice}`,
    ];
    failedWith(await ctr([...push, `${host}/closed/pushed:ctr`]), /405 Method Not Allowed/);
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);

  /** Removes images with their blobs: what containerd has it does not fetch again. */
  async function forget(...names: readonly string[]): Promise<void> {
    succeeded(await ctr(['images', 'remove', '--sync', ...names]));
  }
});
