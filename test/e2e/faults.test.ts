import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bigImage, type ImageFiles, type MemoryRegistry, tinyImage } from '../../src/testing/index.js';
import { type CommandResult, failedWith, succeeded } from './harness/command.js';
import { startContainerd } from './harness/containerd.js';
import { startDockerd } from './harness/dockerd.js';
import { logLines, startFaultyFront } from './harness/faulty-front.js';
import { podman } from './harness/podman.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

// What goes wrong between the proxy and a registry, as real clients see it.

const mebibyte = 1024 * 1024;

function layersOf(image: ImageFiles): readonly string[] {
  const manifest = JSON.parse(image.root.bytes.toString('utf8')) as { layers: readonly { digest: string }[] };
  return manifest.layers.map(({ digest }) => digest);
}

/** The blob in the middle of a pull: the one that stalls, is cut, or comes late. */
function lastLayer(image: ImageFiles): string {
  return layersOf(image).at(-1) ?? '';
}

test('an upstream that fails', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr', 'skopeo')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const { proxy, registry, password } = await startFaultyFront(workspace);
  const { docker } = await startDockerd(workspace, {
    'max-concurrent-downloads': 1,
    'max-download-attempts': 1,
  });
  succeeded(await docker(['login', '-u', 'alice', '--password-stdin', proxy.host], { input: password }));
  const image = await bigImage({ layers: 2, size: 4 * mebibyte });
  registry.putImage('team/big', '1', image);
  registry.putImage('team/tiny', '1', tinyImage('tiny\n'));
  const pull = (name: string) => docker(['pull', `${proxy.host}/${name}`]);

  const answers = [
    // An open registry has no challenge to answer with: it is broken, and the client must not be asked for a login.
    { status: 401, seen: /unavailable|503/i },
    { status: 403, seen: /not found|unknown|denied/i },
    { status: 429, seen: /toomanyrequests|too many/i },
    { status: 500, seen: /unavailable|503/i },
  ];
  for (const { status, seen } of answers) {
    await t.test(`answers ${status}: the client is told, and the next pull works`, async (t) => {
      const headers = { 'retry-after': '1' };
      const answer = { status, headers, body: '<html>a page full of internals</html>' };
      const repair = registry.faults.add({ path: '/v2/team/tiny/' }, { answer });
      t.after(repair);
      const { output } = failedWith(await pull('team/tiny:1'), seen);
      assert.doesNotMatch(output, /internals|html|login/);
      repair();
      succeeded(await pull('team/tiny:1'));
    });
  }

  await t.test('cuts a blob in half: docker notices', async () => {
    const repair = registry.faults.add({ path: lastLayer(image) }, { cutAfter: 2 * mebibyte });
    failedWith(await pull('team/big:1'), /EOF|unexpected|reset|closed/i);
    repair();
    succeeded(await pull('team/big:1'));
  });

  await t.test('cuts a blob in half: skopeo notices', async () => {
    const client = skopeo(workspace);
    const copy = ['copy', '--src-tls-verify=false', '--src-creds', `alice:${password}`];
    const source = `docker://${proxy.host}/team/big:1`;
    const repair = registry.faults.add({ path: lastLayer(image) }, { cutAfter: 2 * mebibyte });
    failedWith(
      await client([...copy, source, `dir:${workspace.path('cut')}`]),
      /EOF|unexpected|reset|closed/i,
    );
    repair();
    succeeded(await client([...copy, source, `dir:${workspace.path('whole')}`]));
  });

  await t.test('sends a blob without a length, and too little of it: docker notices', async () => {
    const fresh = await bigImage({ layers: 1, size: mebibyte, seed: 7 });
    registry.putImage('team/fresh', '1', fresh);
    const effect = { framing: 'close', cutAfter: mebibyte / 2 } as const;
    const repair = registry.faults.add({ path: lastLayer(fresh) }, effect);
    failedWith(await pull('team/fresh:1'), /EOF|unexpected|reset|closed/i);
    repair();
    succeeded(await pull('team/fresh:1'));
  });

  await t.test('is down: the client is told so, and not asked for a new login', async () => {
    await registry.close();
    const { output } = failedWith(await pull('team/tiny:1'), /unavailable|503/i);
    assert.doesNotMatch(output, /login|unauthorized/i);
    assert.ok(
      logLines(proxy, 'access').some(
        (line) => line.status === 503 && /ECONNREFUSED/.test(String(line.reason)),
      ),
    );
  });
});

test('a client that goes away in mid-pull', async (t) => {
  if (!requirePrograms(t, 'skopeo')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const { proxy, registry, password } = await startFaultyFront(workspace);
  const image = await bigImage({ layers: 1, size: 8 * mebibyte });
  registry.putImage('team/big', '1', image);
  registry.faults.add({ path: lastLayer(image) }, { stallAfter: mebibyte });
  const impatient = skopeo(workspace);
  const source = `docker://${proxy.host}/team/big:1`;
  const copy = ['--command-timeout=4s', 'copy', '--src-tls-verify=false', '--src-creds', `alice:${password}`];
  failedWith(await impatient([...copy, source, `dir:${workspace.path('copy')}`]), /deadline|cancel/i);
  const stalled = await registry.waitFor(
    (request) => request.path.includes(lastLayer(image)) && request.closedEarly,
  );
  assert.equal(stalled.method, 'GET', 'the connection to the upstream was released');
});

test('a proxy that is restarted between layers', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const { proxy, registry, password } = await startFaultyFront(workspace);
  const { docker } = await startDockerd(workspace, { 'max-concurrent-downloads': 1 });
  succeeded(await docker(['login', '-u', 'alice', '--password-stdin', proxy.host], { input: password }));
  const image = await bigImage({ layers: 4, size: mebibyte });
  registry.putImage('team/big', '1', image);
  registry.faults.add({ path: '/blobs/' }, { delay: 1000 });
  const blobs = () => registry.requests.filter((request) => request.path.includes('/blobs/'));
  const pulling = docker(['pull', `${proxy.host}/team/big:1`]);
  await registry.waitFor((request) => request.path.includes('/blobs/') && request.finished, 20_000);
  const before = blobs().length;
  await proxy.restart(); // drains what is on its way
  succeeded(await pulling);
  assert.ok(blobs().length > before, 'layers came through the new process');
  const [login, ...tokens] = logLines(proxy, 'token').filter((line) => line.status === 200);
  assert.ok(
    login !== undefined && tokens.length === 1,
    'the token from before still counts: its key was kept',
  );
});

test('a token that expires between layers', async (t) => {
  if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr', 'skopeo', 'podman')) return;
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const { proxy, registry, password } = await startFaultyFront(workspace);
  const image = await bigImage({ layers: 2, size: mebibyte });
  const clients = ['docker', 'skopeo', 'podman', 'containerd'];
  for (const client of clients) registry.putImage(`${client}/big`, '1', image);
  // podman fetches the configuration first, and then six layers at a time: the others have to wait for these.
  const manyLayers = await bigImage({ layers: 9, size: 1024, seed: 2 });
  registry.putImage('podman/big', '1', manyLayers);
  const layers = new RegExp(`/podman/big/blobs/(${layersOf(manyLayers).join('|')})`);
  registry.faults.add({ path: layers }, { delay: 75_000 }, 6);
  const slow = slowBlobs(registry, image, 75_000);
  const { docker } = await startDockerd(workspace, { 'max-concurrent-downloads': 1 });
  succeeded(await docker(['login', '-u', 'alice', '--password-stdin', proxy.host], { input: password }));
  const containerd = await startContainerd(workspace);
  const credentials = ['--creds', `alice:${password}`];
  const pullWithContainerd = () =>
    containerd.pull(`${proxy.host}/containerd/big:1`, [
      '--plain-http',
      '--user',
      `alice:${password}`,
      '--max-concurrent-downloads=1',
    ]);
  const pulls = [
    docker(['pull', `${proxy.host}/docker/big:1`]),
    skopeo(workspace)([
      'copy',
      '--src-tls-verify=false',
      '--src-creds',
      `alice:${password}`,
      `docker://${proxy.host}/skopeo/big:1`,
      `dir:${workspace.path('copy')}`,
    ]),
    podman(workspace).podman(['pull', '--tls-verify=false', ...credentials, `${proxy.host}/podman/big:1`]),
    pullWithContainerd(),
  ];
  const [byDocker, bySkopeo, byPodman, byContainerd] = await Promise.all(pulls);
  for (const result of [byDocker, bySkopeo, byPodman]) succeeded(result as CommandResult);
  slow();
  // containerd before its #9274 repeats the expired token, and gives up; what it has it keeps for the next pull.
  if (byContainerd?.code !== 0) {
    failedWith(byContainerd as CommandResult, /invalid_token/);
    succeeded(await pullWithContainerd());
  }
  // Each client asked a second time, once its first token had run out.
  const granted = logLines(proxy, 'token').filter((line) => line.status === 200);
  for (const client of clients) {
    const times = granted.filter((line) => JSON.stringify(line.granted).includes(`${client}/big`)).length;
    assert.ok(times >= 2, `${client}: ${times} tokens`);
  }
});

/** The first layer of every pull comes so late that the token it was asked with has expired by then. */
function slowBlobs(registry: MemoryRegistry, image: ImageFiles, delay: number): () => void {
  return registry.faults.add({ path: layersOf(image)[0] ?? '' }, { delay });
}
