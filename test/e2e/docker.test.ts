import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failedWith, succeeded } from './harness/command.js';
import { startDockerd } from './harness/dockerd.js';
import { startFront } from './harness/front.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace } from './harness/workspace.js';

const refused = /denied|unauthorized|authentication required|insufficient/i;

test('docker', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, image, passwords, assertNoSecretWritten } = await startFront(workspace);
  const { docker } = await startDockerd(workspace);
  const { host } = proxy;
  const login = (name: string) => ['login', '-u', name, '--password-stdin', host];

  await t.test('is refused without a login', async () => {
    failedWith(await docker(['pull', `${host}/open/tiny:1`]), refused);
  });

  await t.test('is refused with a wrong password', async () => {
    failedWith(await docker(login('alice'), { input: 'wrong' }), /unauthorized/i);
    failedWith(await docker(login('nobody'), { input: 'wrong' }), /unauthorized/i);
  });

  await t.test('logs in', async () => {
    succeeded(await docker(login('alice'), { input: passwords.alice }));
    succeeded(await docker(login('bob'), { input: passwords.bob, client: 'bob' }));
  });

  for (const repository of ['open/tiny', 'closed/tiny']) {
    await t.test(`pulls ${repository} by tag and by digest`, async () => {
      const byTag = succeeded(await docker(['pull', `${host}/${repository}:1`]));
      assert.ok(byTag.stdout.includes(image.digest), byTag.stdout);
      succeeded(await docker(['pull', `${host}/${repository}@${image.digest}`]));
      succeeded(await docker(['image', 'rm', '--force', `${host}/${repository}:1`]));
    });
  }

  await t.test('pulls all tags', async () => {
    const pulled = succeeded(await docker(['pull', '--all-tags', `${host}/open/tiny`]));
    assert.match(pulled.stdout, /^1: Pulling/m);
    assert.match(pulled.stdout, /^2: Pulling/m);
  });

  await t.test('is refused what no rule allows, as if it were not there', async () => {
    const hidden = failedWith(await docker(['pull', `${host}/hidden/tiny:1`]), refused);
    const absent = failedWith(await docker(['pull', `${host}/hidden/absent:1`]), refused);
    assert.equal(hidden.output.replaceAll('hidden/tiny', 'hidden/absent'), absent.output);
    failedWith(await docker(['pull', `${host}/closed/tiny:1`], { client: 'bob' }), refused);
  });

  await t.test('is told what is not there', async () => {
    failedWith(await docker(['pull', `${host}/open/absent:1`]), /not found|unknown/i);
    failedWith(await docker(['pull', `${host}/closed/tiny:absent`]), /not found|unknown/i);
  });

  await t.test('is told that nothing can be pushed', async () => {
    succeeded(await docker(['pull', `${host}/closed/tiny:1`]));
    succeeded(await docker(['tag', `${host}/closed/tiny:1`, `${host}/open/pushed:new`]));
    failedWith(await docker(['push', `${host}/open/pushed:new`]), /unsupported/);
    failedWith(await docker(['push', `${host}/open/pushed:new`], { client: 'bob' }), refused);
  });

  await t.test('does not notice that the proxy was restarted', async () => {
    await proxy.restart();
    succeeded(await docker(['pull', `${host}/closed/tiny:2`]));
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);
});
