import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  bigImage,
  bytesOf,
  generatedBlob,
  type ImageFiles,
  type MemoryRegistry,
  startMemoryRegistry,
} from '../../src/testing/index.js';
import { byHand } from './harness/by-hand.js';
import { succeeded } from './harness/command.js';
import { startContainerd } from './harness/containerd.js';
import { logLines } from './harness/faulty-front.js';
import { mountTmpfs } from './harness/mount-tmpfs.js';
import { plainConfiguration, startPlainFront } from './harness/plain-front.js';
import { proxyAddress, runProxyCommand, startProxy } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// The pull-through cache as a program, and what can happen to it: nothing wrong is ever served.

const mebibyte = 1024 * 1024;
/** The program itself, as built; under tsx the compiler would be measured too. */
const isBuilt = process.env.TEST_BUILT === '1';

async function startRegistry(workspace: Workspace): Promise<MemoryRegistry> {
  const registry = await startMemoryRegistry();
  workspace.onClose(() => registry.close());
  return registry;
}

const getsOf = (registry: MemoryRegistry, path: string) =>
  registry.requests.filter((one) => one.method === 'GET' && one.path.includes(path)).length;

test('200 clients at once, with a cold cache, on an image of ten layers: each is fetched once', async (t) => {
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const registry = await startRegistry(workspace);
  const image = await bigImage({ layers: 9, size: mebibyte });
  const root = registry.putImage('team/app', 'latest', image);
  const cache = { path: workspace.path('cache'), maxSize: '1GB' };
  // All clients are at one address here, and one person.
  const limits = { requestsPerAddress: 1000, requestsPerPrincipal: 1000 };
  const { proxy, password } = await startPlainFront(workspace, { url: registry.url, cache }, { limits });
  const ask = byHand(proxy, password);
  const digests = digestsOf(image);
  assert.equal(digests.length, 11);
  const bytes = new Map<string, Buffer>(image.blobs.map((one) => [one.digest, bytesOf(one)]));
  const pull = async () => {
    const manifest = await ask('/v2/team/app/manifests/latest');
    assert.ok(manifest.body.equals(root.bytes), 'another manifest');
    // As docker and containerd do: three at a time.
    for (let i = 0; i < digests.length; i += 3) {
      await Promise.all(
        digests.slice(i, i + 3).map(async (digest) => {
          const answer = await ask(`/v2/team/app/blobs/${digest}`);
          assert.equal(answer.status, 200, answer.text.slice(0, 200));
          assert.ok(answer.whole, `${digest} is cut`);
          assert.ok(answer.body.equals(bytes.get(digest) ?? Buffer.alloc(0)), `${digest} has other bytes`);
        }),
      );
    }
  };
  await Promise.all(Array.from({ length: 200 }, pull));
  assert.equal(getsOf(registry, '/manifests/'), 1, 'manifests');
  for (const digest of digests) assert.equal(getsOf(registry, digest), 1, digest);
  if (isBuilt) {
    const peak = Math.round(proxy.peakMemory() / mebibyte);
    assert.ok(peak < 250, `the proxy held ${peak} MiB at its peak`);
  }
});

test('containerd and skopeo pull through it, the second time without the registry', async (t) => {
  if (!requirePrograms(t, 'containerd', 'ctr', 'skopeo')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const registry = await startRegistry(workspace);
  registry.putImage('team/app', 'latest', await bigImage({ layers: 3, size: mebibyte }));
  const cache = { path: workspace.path('cache'), maxSize: '1GB', tagFreshness: '1h' };
  const { proxy, password } = await startPlainFront(workspace, { url: registry.url, cache });
  const containerd = await startContainerd(workspace);
  const login = ['--plain-http', '--user', `alice:${password}`];
  succeeded(await containerd.pull(`${proxy.host}/team/app:latest`, login));
  const from = ['--src-tls-verify=false', '--src-creds', `alice:${password}`];
  const image = `docker://${proxy.host}/team/app:latest`;
  const copyTo = (name: string) => skopeo(workspace)(['copy', ...from, image, `dir:${workspace.path(name)}`]);
  succeeded(await copyTo('copy'));
  await registry.close();
  const other = await startContainerd(workspace, 'other');
  succeeded(await other.pull(`${proxy.host}/team/app:latest`, login));
  succeeded(await copyTo('again'));
  const results = logLines(proxy, 'access').flatMap(({ cache: result }) =>
    result === undefined ? [] : [result],
  );
  assert.ok(results.includes('hit') && results.includes('miss'), `only ${[...new Set(results)].join(', ')}`);
});

test('killed in the middle of writing: what is there after the next start is right', async (t) => {
  const workspace = await openWorkspace('waiting');
  t.after(() => workspace.close());
  const registry = await startRegistry(workspace);
  const whole = await generatedBlob(3 * mebibyte, 1);
  const half = await generatedBlob(8 * mebibyte, 2);
  for (const one of [whole, half]) registry.putBlob('team/app', one);
  const cache = { path: workspace.path('cache'), maxSize: '1GB' };
  const { proxy, password } = await startPlainFront(workspace, { url: registry.url, cache });
  const ask = byHand(proxy, password);
  assert.ok((await ask(`/v2/team/app/blobs/${whole.digest}`)).whole, 'the first one is cut');
  registry.faults.add({ method: 'GET', path: half.digest }, { stallAfter: 5 * mebibyte }, 1);
  const cut = ask(`/v2/team/app/blobs/${half.digest}`).then(
    (answer) => answer.whole,
    () => false,
  );
  await registry.waitFor(({ path }) => path.includes(half.digest));
  while (readdirSync(workspace.path('cache/incoming')).length === 0) await sleep(20);
  await sleep(300);
  await proxy.kill();
  assert.equal(await cut, false);
  assert.equal(readdirSync(workspace.path('cache/incoming')).length, 1, 'nothing was being written');
  await proxy.restart();
  const results: unknown[] = [];
  for (const one of [whole, half, half]) {
    const answer = await ask(`/v2/team/app/blobs/${one.digest}`);
    assert.ok(answer.whole && answer.body.equals(bytesOf(one)), 'other bytes');
    results.push(answer.headers['cache-status']);
  }
  const name = 'docker-registry-proxy; ';
  assert.deepEqual(results, [`${name}hit`, `${name}fwd=miss`, `${name}hit`]);
});

test('a full disk: every client gets its bytes, and what is kept is right', async (t) => {
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const path = mountTmpfs(workspace, 'cache', 10 * mebibyte);
  const registry = await startRegistry(workspace);
  const blobs = await Promise.all([1, 2, 3, 4].map((seed) => generatedBlob(6 * mebibyte, seed)));
  for (const one of blobs) registry.putBlob('team/app', one);
  // More than there is.
  const { proxy, password } = await startPlainFront(workspace, {
    url: registry.url,
    cache: { path, maxSize: '1GB' },
  });
  const ask = byHand(proxy, password);
  for (let round = 0; round < 3; round++) {
    await Promise.all(
      blobs.flatMap((one) =>
        [1, 2, 3].map(async () => {
          const answer = await ask(`/v2/team/app/blobs/${one.digest}`);
          assert.ok(answer.whole && answer.body.equals(bytesOf(one)), `${one.digest}: cut, or other bytes`);
        }),
      ),
    );
  }
  assert.match(proxy.output(), /ENOSPC/);
  await proxy.restart();
  for (const one of blobs) {
    const answer = await ask(`/v2/team/app/blobs/${one.digest}`);
    assert.ok(answer.whole && answer.body.equals(bytesOf(one)), 'cut, or other bytes');
  }
});

test('two processes with one directory, one of them killed, and too little room: only right bytes', async (t) => {
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const registry = await startRegistry(workspace);
  const blobs = await Promise.all(Array.from({ length: 12 }, (_, i) => generatedBlob(mebibyte + i, i + 1)));
  for (const one of blobs) registry.putBlob('team/app', one);
  const cache = { path: workspace.path('cache'), maxSize: '6MB' };
  const { configuration, password } = await plainConfiguration(workspace, { url: registry.url, cache });
  const start = async (name: string) => startProxy(workspace, await proxyAddress(), configuration, { name });
  const proxies = [await start('one.yaml'), await start('other.yaml')] as const;
  let isKilled = false;
  let served = 0;
  const client = async (which: 0 | 1, first: number) => {
    const ask = byHand(proxies[which], password);
    for (let i = 0; i < 24; i++) {
      const one = blobs[(first + i * 5) % blobs.length];
      if (one === undefined) continue;
      const answer = await ask(`/v2/team/app/blobs/${one.digest}`).catch(() => undefined);
      if (answer === undefined || !answer.whole) {
        assert.ok(which === 1 && isKilled, `a client was cut: ${answer?.status}`);
        return;
      }
      assert.equal(answer.status, 200, answer.text.slice(0, 200));
      assert.ok(answer.body.equals(bytesOf(one)), `${one.digest} has other bytes`);
      served += 1;
    }
  };
  const clients = Array.from({ length: 16 }, (_, i) => client((i % 2) as 0 | 1, i));
  while (served < 40) await sleep(10);
  isKilled = true;
  await proxies[1].kill();
  await Promise.all(clients);
  assert.ok(served >= 8 * 24, `only ${served} were served`);
  const verified = await runProxyCommand(
    workspace,
    'cache',
    'verify',
    '--config',
    workspace.path('proxy/one.yaml'),
  );
  assert.match(succeeded(verified).output, /blobs read, 0 damaged/);
  const { stdout } = await runProxyCommand(
    workspace,
    'cache',
    'stats',
    '--json',
    '--config',
    workspace.path('proxy/one.yaml'),
  );
  const [status] = JSON.parse(stdout) as readonly { readonly bytes: number; readonly blobs: number }[];
  assert.ok(status && status.blobs > 0, 'nothing was kept');
  // What two processes write in the same minute is seen by the other one later.
  assert.ok(status.bytes <= 12_000_000, `${status.bytes} bytes are kept`);
});

function digestsOf({ root }: ImageFiles): readonly string[] {
  const { config, layers } = JSON.parse(root.bytes.toString('utf8')) as {
    readonly config: { readonly digest: string };
    readonly layers: readonly { readonly digest: string }[];
  };
  return [config, ...layers].map(({ digest }) => digest);
}
