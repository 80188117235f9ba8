import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildContext } from './harness/build-context.js';
import { succeeded } from './harness/command.js';
import { startDockerd } from './harness/dockerd.js';
import { logLines } from './harness/faulty-front.js';
import { startFront } from './harness/front.js';
import { startPushLog } from './harness/push-log.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace } from './harness/workspace.js';

// OCI distribution-spec v1.1, "Mounting a blob from another repository". docker asks for it wherever it remembers a
// layer in another repository of the same host: behind a proxy that may be another registry, or nothing of the user's.
test('docker mounts', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, open, closed, passwords, stored, assertNoSecretWritten } = await startFront(workspace);
  const { docker } = await startDockerd(workspace);
  const { host } = proxy;
  for (const user of ['alice', 'carol'] as const) {
    const login = ['login', '-u', user, '--password-stdin', host];
    succeeded(await docker(login, { input: passwords[user], client: user }));
  }
  const build = async (image: string, layers: readonly string[]) => {
    succeeded(await docker(['build', '--quiet', '--tag', image, buildContext(workspace, layers)]));
  };
  const tagAndPush = async (source: string, target: string, client: 'alice' | 'carol' = 'alice') => {
    succeeded(await docker(['tag', `${host}/${source}`, `${host}/${target}`]));
    return succeeded(await docker(['push', `${host}/${target}`], { client }));
  };
  await build(`${host}/open/app:1`, ['base', 'library', 'program']);
  const firstPush = startPushLog(proxy);
  succeeded(await docker(['push', `${host}/open/app:1`], { client: 'alice' }));
  const { uploaded } = await firstPush('open/app');
  const layers = uploaded.slice(0, 3); // the configuration comes last

  await t.test('every layer of an image', async () => {
    const before = open.output().length;
    const pushLog = startPushLog(proxy);
    const { stdout } = await tagAndPush('open/app:1', 'open/copy:1');
    assert.equal(stdout.match(/: Mounted from open\/app/g)?.length, 3, stdout);
    const pushed = await pushLog('open/copy');
    assert.deepEqual(
      new Set(pushed.mounted.map(({ digest, from }) => `${from} ${digest}`)),
      new Set(layers.map((digest) => `open/app ${digest}`)),
    );
    assert.deepEqual(pushed.uploaded, uploaded.slice(3), 'only the configuration went up');
    // The registry is asked in its own names.
    const asked = open
      .output()
      .slice(before)
      .match(/POST \/v2\/team\/copy\/blobs\/uploads\/\?\S*from=team%2Fapp\S* HTTP\/1.1" 201/g);
    assert.equal(asked?.length, 3);
    assert.equal(await stored('open', 'copy:1'), await stored('open', 'app:1'));
  });

  await t.test('the layers it shares with another image', async () => {
    await build(`${host}/open/other:1`, ['base', 'library', 'other']);
    const pushLog = startPushLog(proxy);
    succeeded(await docker(['push', `${host}/open/other:1`], { client: 'alice' }));
    const { mounted, uploaded } = await pushLog('open/other');
    assert.equal(mounted.length, 2);
    assert.equal(uploaded.length, 2, 'a layer and a configuration');
    for (const { digest } of mounted) assert.ok(layers.includes(digest), `${digest} is no layer of app`);
  });

  await t.test('nothing from another registry: the layers go up', async () => {
    const before = closed.output().length;
    const pushLog = startPushLog(proxy);
    await tagAndPush('open/app:1', 'closed/app:1');
    const { mounted, uploaded } = await pushLog('closed/app');
    assert.deepEqual([mounted.length, uploaded.length], [0, 4]);
    assert.doesNotMatch(closed.output().slice(before), /[?&](mount|from)=/);
    assert.equal(await stored('closed', 'app:1'), await stored('open', 'app:1'));
  });

  await t.test('nothing from where the user may not pull, though our credential could', async () => {
    const before = closed.output().length;
    const pushLog = startPushLog(proxy);
    await tagAndPush('closed/app:1', 'closed/hers/app:1', 'carol');
    const { mounted, uploaded } = await pushLog('closed/hers/app');
    assert.deepEqual([mounted.length, uploaded.length], [0, 4]);
    assert.doesNotMatch(closed.output().slice(before), /[?&](mount|from)=/);
    const asked = logLines(proxy, 'token').filter(({ principal }) => principal === 'local:carol');
    assert.ok(JSON.stringify(asked).includes('closed/app:pull'), 'docker asked for the source of a mount');
    assert.equal(await stored('closed', 'hers/app:1'), await stored('closed', 'app:1'));
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);
});
