import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { buildContext } from './harness/build-context.js';
import { failedWith, succeeded } from './harness/command.js';
import { startFront } from './harness/front.js';
import { type Podman, podman } from './harness/podman.js';
import { startPushLog } from './harness/push-log.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace } from './harness/workspace.js';

const refused = /denied|unauthorized|authentication required|insufficient/i;
const insecure = '--tls-verify=false';

test('podman and buildah', async (t) => {
  if (!requirePrograms(t, 'podman', 'buildah')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, image, passwords, stored, assertNoSecretWritten } = await startFront(workspace);
  const { host } = proxy;
  const alice = podman(workspace);
  const bob = podman(workspace, 'bob');
  /** alice at another machine, which has none of her images. */
  const elsewhere = podman(workspace, 'elsewhere');
  const login = (name: string) => ['login', insecure, '-u', name, '--password-stdin', host];

  await t.test('are refused without a login', async () => {
    failedWith(await alice.podman(['pull', insecure, `${host}/open/tiny:1`]), refused);
    failedWith(await alice.buildah(['pull', insecure, `${host}/open/tiny:1`]), refused);
  });

  await t.test('are refused with a wrong password', async () => {
    failedWith(await alice.podman(login('alice'), 'wrong'), /invalid username|unauthorized/i);
    failedWith(await alice.buildah(login('alice'), 'wrong'), /invalid username|unauthorized/i);
  });

  await t.test('log in', async () => {
    succeeded(await alice.podman(login('alice'), passwords.alice));
    succeeded(await bob.buildah(login('bob'), passwords.bob));
    succeeded(await elsewhere.podman(login('alice'), passwords.alice));
  });

  for (const repository of ['open/tiny', 'closed/tiny']) {
    await t.test(`pull ${repository} by tag and by digest`, async () => {
      succeeded(await alice.podman(['pull', insecure, `${host}/${repository}:1`]));
      assert.equal(await inspect(alice, `${host}/${repository}:1`, '{{.Digest}}'), image.digest);
      succeeded(await alice.podman(['pull', insecure, `${host}/${repository}@${image.digest}`]));
      succeeded(await alice.buildah(['pull', insecure, `${host}/${repository}:2`]));
    });
  }

  await t.test('pull what a rule allows', async () => {
    succeeded(await bob.buildah(['pull', insecure, `${host}/open/tiny:1`]));
  });

  await t.test('list tags', async () => {
    const search = ['search', insecure, '--list-tags', `${host}/closed/tiny`];
    const rows = succeeded(await alice.podman(search))
      .stdout.trim()
      .split('\n')
      .slice(1);
    assert.deepEqual(rows.map((row) => row.split(/\s+/)).sort(), [
      [`${host}/closed/tiny`, '1'],
      [`${host}/closed/tiny`, '2'],
    ]);
  });

  await t.test('are refused what no rule allows', async () => {
    failedWith(await alice.podman(['pull', insecure, `${host}/hidden/tiny:1`]), refused);
    failedWith(await alice.podman(['pull', insecure, `${host}/hidden/absent:1`]), refused);
    failedWith(await bob.podman(['pull', insecure, `${host}/closed/tiny:1`]), refused);
  });

  await t.test('are told what is not there', async () => {
    failedWith(await alice.podman(['pull', insecure, `${host}/open/absent:1`]), /unknown|not found/i);
    failedWith(await alice.podman(['pull', insecure, `${host}/closed/tiny:absent`]), /unknown|not found/i);
  });

  for (const registry of ['open', 'closed'] as const) {
    await t.test(`push several layers to ${registry}, and pull the same`, async () => {
      const target = `${host}/${registry}/app:1`;
      await build(target, ['base', 'library', `program-${registry}`]);
      const digestFile = workspace.path(`digest-${registry}`);
      const pushLog = startPushLog(proxy);
      succeeded(await alice.podman(['push', insecure, '--digestfile', digestFile, target]));
      const { uploaded, mounted } = await pushLog(`${registry}/app`);
      assert.deepEqual([uploaded.length, mounted.length], [4, 0], 'three layers and a configuration');
      const digest = readFileSync(digestFile, 'utf8');
      assert.equal(await stored(registry, 'app:1'), digest);
      succeeded(await elsewhere.podman(['pull', insecure, target]));
      assert.equal(await inspect(elsewhere, target, '{{.Digest}}'), digest);
      assert.equal(await inspect(elsewhere, target, '{{.Id}}'), await inspect(alice, target, '{{.Id}}'));
    });
  }

  await t.test('push a second tag without a byte, and to another repository by mounting', async () => {
    const source = `${host}/open/app:1`;
    const pushLog = startPushLog(proxy);
    succeeded(await alice.buildah(['push', insecure, source, `docker://${host}/open/app:2`]));
    succeeded(await alice.buildah(['push', insecure, source, `docker://${host}/open/copy:1`]));
    assert.deepEqual(await pushLog('open/app'), { bytes: 0, uploaded: [], mounted: [] });
    const { uploaded, mounted } = await pushLog('open/copy');
    assert.equal(uploaded.length, 1, 'the configuration, which they never mount');
    assert.deepEqual(
      mounted.map(({ from }) => from),
      ['open/app', 'open/app', 'open/app'],
    );
    assert.equal(await stored('open', 'copy:1'), await stored('open', 'app:2'));
  });

  await t.test('push a manifest list of two platforms', async () => {
    const context = buildContext(workspace, ['base', 'library', 'everywhere']);
    const platforms = ['--platform', 'linux/amd64,linux/arm64', '--manifest', 'list'];
    // Without --layers: its cache takes an image of one platform for the other's.
    succeeded(await alice.buildah(['bud', '--quiet', ...platforms, context]));
    const digestFile = workspace.path('digest-list');
    const push = ['manifest', 'push', insecure, '--all', '--digestfile', digestFile, 'list'];
    succeeded(await alice.podman([...push, `docker://${host}/closed/list:1`]));
    assert.equal(await stored('closed', 'list:1'), readFileSync(digestFile, 'utf8'));
    for (const platform of ['linux/amd64', 'linux/arm64']) {
      const image = `${host}/closed/list:1`;
      succeeded(await elsewhere.podman(['pull', insecure, '--platform', platform, image]));
      assert.equal(await inspect(elsewhere, image, '{{.Os}}/{{.Architecture}}'), platform);
    }
  });

  await t.test('are refused a push that no rule allows', async () => {
    for (const target of ['open/bobs', 'closed/bobs']) {
      const push = ['push', insecure, `${host}/open/tiny:1`, `docker://${host}/${target}:1`];
      failedWith(await bob.buildah(push), refused);
      failedWith(await bob.podman(push), refused);
    }
    const hidden = ['push', insecure, `${host}/open/app:1`, `docker://${host}/hidden/app:1`];
    failedWith(await alice.podman(hidden), refused);
    assert.equal(await stored('open', 'bobs:1'), undefined);
  });

  await t.test('leave no secret in the output of the proxy', assertNoSecretWritten);

  async function build(image: string, layers: readonly string[]): Promise<void> {
    const context = buildContext(workspace, layers);
    succeeded(await alice.buildah(['bud', '--quiet', '--layers', '--tag', image, context]));
  }

  async function inspect(client: Podman, image: string, format: string): Promise<string> {
    const inspected = await client.podman(['image', 'inspect', '--format', format, image]);
    return succeeded(inspected).stdout.trim();
  }
});
