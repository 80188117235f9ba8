import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startLoopbackServer } from '../../src/testing/loopback-server.js';
import { bigImage } from '../../src/testing/tiny-image.js';
import { failedWith, succeeded } from './harness/command.js';
import { startContainerd, writeHosts } from './harness/containerd.js';
import { startFront, upload } from './harness/front.js';
import { writeOciLayout } from './harness/oci-layout.js';
import { startPushLog } from './harness/push-log.js';
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
  const { proxy, open, closed, image, passwords, stored, assertNoSecretWritten } =
    await startFront(workspace);
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

  // containerd 1.6 remembers where it has a blob from, and mounts it from there; configurations too. It sends a blob
  // with the PUT alone, of known length, and asks for a token of each repository and blob anew.
  const big = writeOciLayout(workspace, 'big', await bigImage({ layers: 3, size: 40_000 }));
  await upload(workspace, big, `${open.host}/team/big:1`);
  const digest = await stored('open', 'big:1'); // skopeo has packed the layers
  assert.ok(digest, 'open has big:1');
  const plain = ['--plain-http', '--user', `alice:${passwords.alice}`];
  const push = (source: string, target: string, options = plain) =>
    ctr(['images', 'push', ...options, `${host}/${target}`, `${host}/${source}`]);
  const blobCount = 5; // a program, three more layers, a configuration

  await t.test('pushes several layers to another registry, and another namespace pulls them', async () => {
    succeeded(await pull(`${host}/open/big:1`, plain));
    for (const [i, options] of [plain, alice].entries()) {
      const pushLog = startPushLog(proxy);
      succeeded(await push('open/big:1', `closed/pushed-${i}:1`, options));
      const { uploaded, mounted } = await pushLog(`closed/pushed-${i}`);
      assert.deepEqual([uploaded.length, mounted.length], [blobCount, 0]);
      assert.equal(await stored('closed', `pushed-${i}:1`), digest);
    }
    await forget(`${host}/open/big:1`);
    const before = closed.output().length;
    const target = `${host}/closed/pushed-0:1`;
    const elsewhere = ['--namespace', 'elsewhere', 'images'];
    succeeded(await ctr([...elsewhere, 'pull', '--snapshotter', 'native', ...plain, target]));
    const fetched = closed
      .output()
      .slice(before)
      .match(/"GET \/v2\/team\/pushed-0\/blobs\/sha256:\w+ HTTP\/1.1" 200/g);
    assert.equal(new Set(fetched).size, blobCount);
    succeeded(await ctr([...elsewhere, 'remove', '--sync', target]));
  });

  await t.test('mounts at the same registry, and sends nothing that is there', async () => {
    succeeded(await pull(`${host}/open/big:1`, plain));
    for (const mounts of [blobCount, 0]) {
      const pushLog = startPushLog(proxy);
      succeeded(await push('open/big:1', 'open/copy:1'));
      const { bytes, mounted } = await pushLog('open/copy');
      assert.deepEqual([bytes, mounted.length], [0, mounts]);
      for (const { from } of mounted) assert.equal(from, 'open/big');
    }
    assert.equal(await stored('open', 'copy:1'), digest);
  });

  await t.test('pushes an index with its images', async () => {
    succeeded(await pull(`${host}/open/tiny:1`, [...plain, '--all-platforms']));
    succeeded(await push('open/tiny:1', 'closed/index:1'));
    assert.equal(await stored('closed', 'index:1'), image.digest);
    // Without the index that lists it.
    succeeded(await push('open/tiny:1', 'closed/single:1', [...plain, '--platform', 'linux/arm64']));
    const single = await stored('closed', 'single:1');
    assert.ok(single !== undefined && single !== image.digest, `stored as ${single}`);
    await forget(`${host}/open/tiny:1`);
    succeeded(await pull(`${host}/closed/index:1`, [...plain, '--all-platforms']));
  });

  await t.test('is refused a push that no rule allows', async () => {
    const asBob = ['--plain-http', '--user', `bob:${passwords.bob}`];
    for (const target of ['open/bobs:1', 'closed/bobs:1']) {
      failedWith(await push('open/big:1', target, asBob), refused);
    }
    failedWith(await push('open/big:1', 'hidden/big:1'), refused);
    // It sends no `ns` with a push: that is one to the mirror's own `team/big`.
    const mirror = ['--hosts-dir', writeHosts(workspace, 'docker.io', proxy.url)];
    const user = ['--user', `alice:${passwords.alice}`];
    const names = ['docker.io/team/pushed:1', `${host}/open/big:1`];
    failedWith(await ctr(['images', 'push', ...mirror, ...user, ...names]), refused);
    for (const name of ['bobs:1', 'pushed:1']) assert.equal(await stored('open', name), undefined);
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);

  /** Removes images with their blobs: what containerd has it does not fetch again. */
  async function forget(...names: readonly string[]): Promise<void> {
    succeeded(await ctr(['images', 'remove', '--sync', ...names]));
  }
});
