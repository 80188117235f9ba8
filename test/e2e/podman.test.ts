import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failedWith, succeeded } from './harness/command.js';
import { startFront } from './harness/front.js';
import { podman } from './harness/podman.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace } from './harness/workspace.js';

const refused = /denied|unauthorized|authentication required|insufficient/i;
const insecure = '--tls-verify=false';

test('podman and buildah', async (t) => {
  if (!requirePrograms(t, 'podman', 'buildah')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, image, passwords, assertNoSecretWritten } = await startFront(workspace);
  const { host } = proxy;
  const alice = podman(workspace);
  const bob = podman(workspace, 'bob');
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
  });

  for (const repository of ['open/tiny', 'closed/tiny']) {
    await t.test(`pull ${repository} by tag and by digest`, async () => {
      succeeded(await alice.podman(['pull', insecure, `${host}/${repository}:1`]));
      const format = ['image', 'inspect', '--format', '{{.Digest}}', `${host}/${repository}:1`];
      assert.equal(succeeded(await alice.podman(format)).stdout.trim(), image.digest);
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

  await t.test('are told that nothing can be pushed', async () => {
    const target = `docker://${host}/open/pushed:buildah`;
    failedWith(await alice.buildah(['push', insecure, `${host}/closed/tiny:1`, target]), /unsupported/);
    failedWith(await bob.buildah(['push', insecure, `${host}/open/tiny:1`, target]), refused);
  });

  await t.test('leave no secret in the output of the proxy', assertNoSecretWritten);
});
