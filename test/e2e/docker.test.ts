import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildContext } from './harness/build-context.js';
import { type CommandResult, failedWith, succeeded } from './harness/command.js';
import { startDockerd } from './harness/dockerd.js';
import { startFront } from './harness/front.js';
import { startPushLog } from './harness/push-log.js';
import { requirePrograms } from './harness/require-programs.js';
import { openWorkspace } from './harness/workspace.js';

const refused = /denied|unauthorized|authentication required|insufficient/i;

test('docker', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, image, passwords, stored, assertNoSecretWritten } = await startFront(workspace);
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

  for (const registry of ['open', 'closed'] as const) {
    await t.test(`pushes several layers to ${registry}, and pulls the same`, async () => {
      const image = `${host}/${registry}/app:1`;
      await build(image, ['base', 'library', 'program']);
      const pushLog = startPushLog(proxy);
      const digest = pushedDigest(succeeded(await docker(['push', image])));
      assert.equal((await pushLog(`${registry}/app`)).uploaded.length, 4, 'three layers and a configuration');
      assert.equal(await stored(registry, 'app:1'), digest);
      const { Id, RootFS } = await inspect(image);
      succeeded(await docker(['image', 'rm', '--force', Id]));
      const { stdout } = succeeded(await docker(['pull', image]));
      assert.equal(stdout.match(/: Pull complete/g)?.length, 3, stdout);
      const pulled = await inspect(image);
      assert.deepEqual(pulled.RepoDigests, [`${host}/${registry}/app@${digest}`]);
      assert.deepEqual([pulled.Id, pulled.RootFS], [Id, RootFS]);
    });
  }

  await t.test('pushes a second tag without a byte of a layer', async () => {
    succeeded(await docker(['tag', `${host}/closed/app:1`, `${host}/closed/app:2`]));
    const pushLog = startPushLog(proxy);
    const result = succeeded(await docker(['push', `${host}/closed/app:2`]));
    assert.equal(result.stdout.match(/: Layer already exists/g)?.length, 3, result.stdout);
    assert.deepEqual(await pushLog('closed/app'), { bytes: 0, uploaded: [], mounted: [] });
    assert.equal(await stored('closed', 'app:2'), pushedDigest(result));
  });

  await t.test('pushes a list of two platforms, mounted from where they are', async () => {
    const [list, first, second] = ['list:1', 'app:1', 'arm:1'].map((name) => `${host}/closed/${name}`);
    assert.ok(list && first && second, 'three names');
    await build(second, ['base', 'library', 'other']);
    succeeded(await docker(['push', second]));
    succeeded(await docker(['manifest', 'create', '--insecure', list, first, second]));
    succeeded(await docker(['manifest', 'annotate', '--arch', 'arm64', list, second]));
    const pushLog = startPushLog(proxy);
    const digest = succeeded(await docker(['manifest', 'push', '--insecure', list]))
      .stdout.trim()
      .split('\n')
      .at(-1);
    const { bytes, mounted } = await pushLog('closed/list');
    assert.equal(bytes, 0);
    assert.deepEqual(new Set(mounted.map(({ from }) => from)), new Set(['closed/app', 'closed/arm']));
    assert.equal(await stored('closed', 'list:1'), digest);
    assert.match(succeeded(await docker(['pull', list])).stdout, new RegExp(`^Digest: ${digest}$`, 'm'));
  });

  await t.test('is refused a push that no rule allows', async () => {
    for (const target of ['open/app:1', 'open/bobs:1', 'closed/bobs:1', 'hidden/app:1']) {
      succeeded(await docker(['tag', `${host}/closed/arm:1`, `${host}/${target}`]));
      const { output } = failedWith(await docker(['push', `${host}/${target}`], { client: 'bob' }), refused);
      assert.match(output, /denied: requested access to the resource is denied/, target);
    }
    failedWith(await docker(['push', `${host}/hidden/app:1`]), refused);
    assert.equal(await stored('open', 'bobs:1'), undefined);
    assert.equal(await stored('closed', 'bobs:1'), undefined);
    assert.notEqual(await stored('open', 'app:1'), await stored('closed', 'arm:1'));
  });

  await t.test('does not notice that the proxy was restarted', async () => {
    await proxy.restart();
    succeeded(await docker(['pull', `${host}/closed/tiny:2`]));
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);

  async function build(image: string, layers: readonly string[]): Promise<void> {
    succeeded(await docker(['build', '--quiet', '--tag', image, buildContext(workspace, layers)]));
  }

  /** What docker knows of an image it has. */
  async function inspect(image: string) {
    const [found] = JSON.parse(succeeded(await docker(['image', 'inspect', image])).stdout);
    return found as { Id: string; RepoDigests: readonly string[]; RootFS: object };
  }
});

/** Of the manifest, as `docker push` says at its end. */
function pushedDigest({ command, stdout }: CommandResult): string {
  const digest = /: digest: (sha256:\w+) size: \d+$/m.exec(stdout)?.[1];
  assert.ok(digest, `${command} names no digest:\n${stdout}`);
  return digest;
}
