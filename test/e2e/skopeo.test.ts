import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyImage, tinyImageFor } from '../../src/testing/tiny-image.js';
import { failedWith, succeeded } from './harness/command.js';
import { startFront } from './harness/front.js';
import { writeOciLayout } from './harness/oci-layout.js';
import { startPushLog } from './harness/push-log.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

const refused = /denied|unauthorized|authentication required|insufficient/i;

test('skopeo', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, image, passwords, stored, assertNoSecretWritten } = await startFront(workspace);
  const { host } = proxy;
  const client = skopeo(workspace);
  const bob = skopeo(workspace, 'bob');
  const carol = skopeo(workspace, 'carol');
  const login = (name: string) => ['login', '--tls-verify=false', '-u', name, '--password-stdin', host];
  const inspect = (image: string) => ['inspect', '--tls-verify=false', `docker://${host}/${image}`];

  await t.test('is refused without a login', async () => {
    failedWith(await client(inspect('open/tiny:1')), refused);
  });

  await t.test('is refused with a wrong password', async () => {
    failedWith(await client(login('alice'), 'wrong'), /invalid username|unauthorized/i);
  });

  await t.test('logs in', async () => {
    succeeded(await client(login('alice'), passwords.alice));
    succeeded(await bob(login('bob'), passwords.bob));
    succeeded(await carol(login('carol'), passwords.carol));
  });

  for (const repository of ['open/tiny', 'closed/tiny']) {
    await t.test(`inspects and copies ${repository} by tag and by digest`, async () => {
      const inspected = succeeded(await client(inspect(`${repository}:1`)));
      assert.equal(JSON.parse(inspected.stdout).Digest, image.digest);
      for (const [i, reference] of [':1', `@${image.digest}`].entries()) {
        const target = `dir:${workspace.path(`copy-${repository.replace('/', '-')}-${i}`)}`;
        const source = `docker://${host}/${repository}${reference}`;
        succeeded(await client(['copy', '--src-tls-verify=false', source, target]));
      }
    });

    await t.test(`lists the tags of ${repository}, named as the client names it`, async () => {
      const list = ['list-tags', '--tls-verify=false', `docker://${host}/${repository}`];
      const listed = JSON.parse(succeeded(await client(list)).stdout);
      assert.equal(listed.Repository, `${host}/${repository}`);
      assert.deepEqual(listed.Tags.sort(), ['1', '2']); // docker-registry 2.8 has no order
    });
  }

  await t.test('is refused what no rule allows, as if it were not there', async () => {
    const hidden = failedWith(await client(inspect('hidden/tiny:1')), refused);
    const absent = failedWith(await client(inspect('hidden/absent:1')), refused);
    assert.equal(plain(hidden.output).replaceAll('hidden/tiny', 'hidden/absent'), plain(absent.output));
    failedWith(await bob(inspect('closed/tiny:1')), refused);
  });

  await t.test('is told what is not there', async () => {
    failedWith(await client(inspect('open/absent:1')), /unknown|not found/i);
    failedWith(await client(inspect('closed/tiny:absent')), /unknown|not found/i);
    const list = ['list-tags', '--tls-verify=false', `docker://${host}/closed/absent`];
    failedWith(await client(list), /unknown|not found/i);
  });

  const push = ['copy', '--all', '--dest-tls-verify=false'];
  const local = `oci:${image.directory}:latest`;

  for (const registry of ['open', 'closed'] as const) {
    await t.test(`pushes an index with its images to ${registry}`, async () => {
      const pushLog = startPushLog(proxy);
      succeeded(await client([...push, local, `docker://${host}/${registry}/pushed:new`]));
      // It has seen layers in other repositories by now; it never mounts configurations.
      const { uploaded, mounted } = await pushLog(`${registry}/pushed`);
      assert.equal(uploaded.length + mounted.length, 4, 'a layer and a configuration of each platform');
      for (const { from } of mounted) assert.ok(from.startsWith(`${registry}/`), from);
      assert.equal(await stored(registry, 'pushed:new'), image.digest);
      const copy = ['copy', '--all', '--src-tls-verify=false', `docker://${host}/${registry}/pushed:new`];
      succeeded(await client([...copy, `dir:${workspace.path(`pushed-${registry}`)}`])); // it checks every digest
    });
  }

  await t.test('copies between repositories, and mounts the layers', async () => {
    const target = `docker://${host}/open/copied:1`;
    const pushLog = startPushLog(proxy);
    succeeded(await client([...push, '--src-tls-verify=false', `docker://${host}/open/pushed:new`, target]));
    const { uploaded, mounted } = await pushLog('open/copied');
    assert.deepEqual([uploaded.length, mounted.length], [2, 2]);
    assert.equal(await stored('open', 'copied:1'), image.digest);
  });

  await t.test('copies between registries: the layers go up', async () => {
    const fresh = writeOciLayout(workspace, 'fresh', tinyImage('fresh'));
    const source = `docker://${host}/open/fresh:1`;
    succeeded(await client([...push, `oci:${fresh.directory}:latest`, source]));
    const pushLog = startPushLog(proxy);
    const target = `docker://${host}/closed/fresh:1`;
    succeeded(await client([...push, '--src-tls-verify=false', source, target]));
    const { uploaded, mounted } = await pushLog('closed/fresh');
    assert.deepEqual([uploaded.length, mounted.length], [4, 0]);
    assert.equal(await stored('closed', 'fresh:1'), fresh.digest);
  });

  await t.test('synchronises a repository with all its tags', async () => {
    const insecure = ['--src-tls-verify=false', '--dest-tls-verify=false'];
    const sync = ['sync', '--all', ...insecure, '--src', 'docker', '--dest', 'docker'];
    succeeded(await client([...sync, `${host}/open/tiny`, `${host}/closed/synced`]));
    for (const tag of ['1', '2']) assert.equal(await stored('closed', `synced/tiny:${tag}`), image.digest);
  });

  await t.test('is refused a push that no rule allows', async () => {
    for (const target of ['open/bobs', 'closed/bobs']) {
      failedWith(await bob([...push, local, `docker://${host}/${target}:new`]), refused);
    }
    failedWith(await client([...push, local, `docker://${host}/hidden/pushed:new`]), refused);
    assert.equal(await stored('open', 'bobs:new'), undefined);
  });

  await t.test('deletes what a rule lets it delete', async () => {
    const target = `docker://${host}/open/doomed:1`;
    const single = tinyImageFor('arm64', 'doomed');
    const { directory, digest } = writeOciLayout(workspace, 'doomed', single);
    succeeded(await carol([...push, `oci:${directory}:latest`, target]));
    assert.equal(await stored('open', 'doomed:1'), digest);
    failedWith(await client(['delete', '--tls-verify=false', target]), refused);
    succeeded(await carol(['delete', '--tls-verify=false', target]));
    assert.equal(await stored('open', 'doomed:1'), undefined);
    failedWith(await carol(inspect('open/doomed:1')), /unknown|not found/i);
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);
});

/** skopeo's log lines begin with a time. */
function plain(output: string): string {
  return output.replace(/time="[^"]*"/g, '');
}
