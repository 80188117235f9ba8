import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failedWith, succeeded } from './harness/command.js';
import { startFront } from './harness/front.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

const refused = /denied|unauthorized|authentication required|insufficient/i;

test('skopeo', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, image, passwords, assertNoSecretWritten } = await startFront(workspace);
  const { host } = proxy;
  const client = skopeo(workspace);
  const bob = skopeo(workspace, 'bob');
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

  await t.test('is told that nothing can be pushed', async () => {
    const push = ['copy', '--dest-tls-verify=false', `oci:${image.directory}:latest`];
    failedWith(await client([...push, `docker://${host}/open/pushed:new`]), /unsupported/);
    failedWith(await bob([...push, `docker://${host}/open/pushed:new`]), refused);
  });

  await t.test('may not delete without a rule for it', async () => {
    failedWith(await client(['delete', '--tls-verify=false', `docker://${host}/open/tiny:2`]), refused);
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);
});

/** skopeo's log lines begin with a time. */
function plain(output: string): string {
  return output.replace(/time="[^"]*"/g, '');
}
