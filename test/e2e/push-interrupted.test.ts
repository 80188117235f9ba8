import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import type { LoggedRequest, MemoryRegistry } from '../../src/testing/index.js';
import { closeUpload, locationOf, openUpload, patchUpload } from '../harness/pushing.js';
import { byHand, metric } from './harness/by-hand.js';
import { failedWith, succeeded } from './harness/command.js';
import { type FaultyFront, logLines, startFaultyFront } from './harness/faulty-front.js';
import { podman } from './harness/podman.js';
import { startPushers } from './harness/pushers.js';
import { requirePrograms } from './harness/require-programs.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace } from './harness/workspace.js';

// A push that is interrupted between the client and the proxy: the proxy ends, the client ends, or its token does.

const mebibyte = 1024 * 1024;

/** Makes the registry take the layers of a repository slowly. */
function slowUploads(registry: MemoryRegistry, repository: string, bodyRate: number) {
  const match = ({ method, path }: LoggedRequest) => method === 'PATCH' && path.includes(`/${repository}/`);
  const quicken = registry.faults.add(match, { bodyRate });
  /** Waits until the registry has a part of the large layer. */
  const underWay = async () => {
    const halfSent = (one: LoggedRequest) => match(one) && one.receivedBytes >= 2 * mebibyte;
    const isSeen = await waitFor(() => registry.requests.some(halfSent), 60_000);
    assert.ok(isSeen, 'no large layer was on its way');
    return registry.requests.find(halfSent) ?? assert.fail('it was there');
  };
  return { quicken, underWay };
}

test('a proxy that ends in mid-upload', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const front = await startFaultyFront(workspace, { settings: { drainTimeout: '500ms' } });
  const { proxy, registry } = front;
  const { withDocker, withSkopeo, newImage } = await startPushers(workspace, front);

  for (const [signal, end] of [
    ['SIGTERM', () => proxy.stop()],
    ['SIGKILL', () => proxy.kill()],
  ] as const) {
    for (const [client, push] of [
      ['docker', withDocker],
      ['skopeo', withSkopeo],
    ] as const) {
      const what = client === 'docker' ? 'tries again by itself' : 'can be run again';
      await t.test(`by ${signal}: ${client} ${what}`, async () => {
        const repository = `${client}/${signal.toLowerCase()}`;
        const image = await newImage(16 * mebibyte);
        const { quicken, underWay } = slowUploads(registry, repository, mebibyte);
        const pushing = push(image, repository);
        await underWay();
        quicken();
        await end();
        await proxy.restart();
        if (client === 'skopeo') {
          failedWith(await pushing, /EOF|reset|broken pipe/i);
          succeeded(await push(image, repository));
        } else succeeded(await pushing);
        assert.ok(registry.store.manifest(repository, '1'), 'it is not there');
      });
    }

    await t.test(`by ${signal}: the session goes on where it was`, async () => {
      await resume(front, `raw/${signal.toLowerCase()}`, end);
    });
  }
  assert.match(proxy.output(), /requests cut: they did not finish in drainTimeout/);
});

/** Uploads a piece, ends the proxy in the middle of the second, and goes on with what the registry has of it. */
async function resume(
  { proxy, registry, password }: FaultyFront,
  repository: string,
  end: () => Promise<void>,
) {
  const ask = byHand(proxy, password);
  const content = Buffer.concat([Buffer.alloc(mebibyte, 'a'), Buffer.alloc(mebibyte, 'b'), Buffer.from('c')]);
  const patched = await patchUpload(ask, await openUpload(ask, repository), content.subarray(0, mebibyte));
  assert.deepEqual([patched.status, patched.headers.range], [202, `0-${mebibyte - 1}`], patched.text);
  const session = locationOf(patched);
  const half = endless(content.subarray(mebibyte, mebibyte + 500_000));
  const cut = assert.rejects(patchUpload(ask, session, half), 'the second piece was answered');
  const isHere = ({ method, path }: LoggedRequest) => method === 'PATCH' && path.includes(`/${repository}/`);
  const second = () => registry.requests.filter(isHere)[1];
  assert.ok(await waitFor(() => second()?.receivedBytes === 500_000, 20_000), 'half a piece did not arrive');
  await end();
  await cut;
  await proxy.restart();
  await second()?.settled;
  const status = await ask(session);
  assert.deepEqual([status.status, status.headers.range], [204, `0-${mebibyte + 499_999}`], status.text);
  const from = mebibyte + 500_000;
  const rest = content.subarray(from);
  const range = { 'content-range': `${from}-${content.length - 1}` };
  const last = await patchUpload(ask, locationOf(status), rest, range);
  assert.equal(last.status, 202, last.text);
  const digest = digestOf(content);
  const closed = await closeUpload(ask, locationOf(last), digest);
  assert.equal(closed.status, 201, closed.text);
  const blob = await ask(`/v2/${repository}/blobs/${digest}`);
  assert.ok(blob.body.equals(content), 'it is not what was sent');
}

/** A body that stops in the middle. */
function endless(bytes: Buffer): Readable {
  let isGiven = false;
  return new Readable({
    read() {
      if (!isGiven) this.push(bytes);
      isGiven = true;
    },
  });
}

test('a client that is killed in mid-push', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const front = await startFaultyFront(workspace);
  const { proxy, registry } = front;
  const pushers = await startPushers(workspace, front);

  for (const [client, push] of [
    ['docker', pushers.withDocker],
    ['skopeo', pushers.withSkopeo],
  ] as const) {
    await t.test(client, async () => {
      const repository = `${client}/app`;
      const image = await pushers.newImage(64 * mebibyte);
      const { quicken, underWay } = slowUploads(registry, repository, 4 * mebibyte);
      const killer = new AbortController();
      const pushing = push(image, repository, killer.signal);
      const upload = await underWay();
      assert.ok((await metric(proxy, 'requests_open')) > 0, 'no request is counted');
      killer.abort();
      assert.equal((await pushing).code, 137);
      assert.ok(
        await waitFor(async () => (await metric(proxy, 'requests_open')) === 0, 60_000),
        'a request stayed open',
      );
      await upload.settled;
      assert.equal(upload.closedEarly, true, 'the upstream’s connection was not cut');
      assert.ok(pushers.answersFor(repository).includes(499), 'the access log does not say so');
      assert.equal(registry.store.manifest(repository, '1'), undefined);
      failedWith(await pushers.pullWithDocker(repository), /not found|unknown/i);
      quicken();
      succeeded(await push(image, repository));
      succeeded(await pushers.pullWithDocker(repository));
    });
  }
});

test('a token that expires in mid-push', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr', 'podman')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const front = await startFaultyFront(workspace);
  const { proxy, registry, password } = front;
  const { withDocker, withSkopeo, newImage } = await startPushers(workspace, front);
  const image = await newImage(mebibyte);
  const pod = podman(workspace);
  succeeded(await pod.podman(['pull', '--tls-verify=false', image]));
  // Not containerd 1.6: against any registry it may wait for ever when the PUT of a manifest is to be sent again.
  const clients = ['docker', 'skopeo', 'podman'];
  // One of the layers takes longer than the token lives; the configuration and the manifest come after it.
  for (const client of clients) {
    const isUpload = ({ method, path }: LoggedRequest) =>
      /PATCH|PUT/.test(method) && path.includes(`/${client}/big/blobs/uploads/`);
    registry.faults.add(isUpload, { delay: 75_000 }, 1);
  }
  const pushed = await Promise.all([
    withDocker(image, 'docker/big'),
    withSkopeo(image, 'skopeo/big'),
    pod.podman([
      ...['push', '--tls-verify=false', '--creds', `alice:${password}`],
      ...[image, `docker://${proxy.host}/podman/big:1`],
    ]),
  ]);
  for (const result of pushed) succeeded(result);
  const granted = logLines(proxy, 'token').filter((line) => line.status === 200);
  for (const client of clients) {
    assert.ok(registry.store.manifest(`${client}/big`, '1'), `${client}: it is not there`);
    const times = granted.filter((line) => JSON.stringify(line.granted).includes(`${client}/big`)).length;
    assert.ok(times >= 2, `${client}: ${times} tokens`);
  }
});
