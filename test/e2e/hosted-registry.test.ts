import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import {
  type MemoryRegistry,
  type MemoryRegistryOptions,
  startMemoryRegistry,
} from '../../src/testing/memory-registry.js';
import { bigImage, tinyImage } from '../../src/testing/tiny-image.js';
import { failedWith, succeeded } from './harness/command.js';
import { writeHtpasswd } from './harness/docker-registry.js';
import { writeOciLayout } from './harness/oci-layout.js';
import { proxyAddress, type RunningProxy, startProxy } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

const password = 'w0nderland';
const upstreamPassword = 'r0b0t-passw0rd';
const mebibyte = 1024 * 1024;

// An upstream as hosted ones are, which docker-registry is not: tokens from its own endpoint, lists in pages, and
// blobs in object storage on another host.
test('a hosted registry', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const upstream = await startHosted(workspace, { uploads: { location: 'absolute' } });
  // Artifact Registry's way: sessions outside of `/v2`, and no second piece.
  const outside = await startHosted(workspace, { uploads: { location: 'outside', chunked: false } });
  const proxy = await startInFront(workspace, upstream, outside);
  const client = skopeo(workspace);
  const login = ['login', '--tls-verify=false', '-u', 'alice', '--password-stdin', proxy.host];
  succeeded(await client(login, password));
  const copy = (name: string, directory: string) => {
    const target = `dir:${workspace.path(directory)}`;
    return client(['copy', '--src-tls-verify=false', `docker://${proxy.host}/${name}`, target]);
  };

  await t.test('lists its tags over all pages', async () => {
    const list = ['list-tags', '--tls-verify=false', `docker://${proxy.host}/stream/tiny`];
    upstream.forgetRequests();
    const listed = JSON.parse(succeeded(await client(list)).stdout);
    assert.deepEqual(listed.Tags, ['1', '2', '3', '4', '5']);
    const pages = upstream.requests.filter(({ path, status }) => /\/tags\/list/.test(path) && status === 200);
    assert.equal(pages.length, 3);
  });

  await t.test('hands its storage to the client, or not', async () => {
    const storageClients = async (route: string) => {
      upstream.forgetRequests();
      succeeded(await copy(`${route}/tiny:1`, `${route}-tiny`));
      const fetched = upstream.requests.filter(({ server }) => server === 'storage');
      assert.ok(fetched.length > 0, 'fetched.length > 0');
      for (const { headers } of fetched) assert.equal(headers.authorization, undefined);
      return new Set(fetched.map(({ headers }) => /^skopeo/.test(headers['user-agent'] ?? '')));
    };
    assert.deepEqual(await storageClients('stream'), new Set([false]));
    assert.deepEqual(await storageClients('redirect'), new Set([true]));
  });

  await t.test('sends a large layer through without the proxy holding it', async () => {
    const before = proxy.peakMemory();
    const layer = await putBigImage(upstream, 256 * mebibyte);
    succeeded(await copy('stream/big:1', 'big'));
    assert.ok(
      readdirSync(workspace.path('big')).includes(layer.replace('sha256:', '')),
      "readdirSync(workspace.path('big')).includes(layer.replace('sha256:', ''))",
    );
    assert.ok(proxy.peakMemory() - before < 128 * mebibyte, `${before} -> ${proxy.peakMemory()} bytes`);
  });

  await t.test('cuts a transfer that the upstream cut', async () => {
    await putBigImage(upstream, 2 * mebibyte);
    upstream.faults.add({ server: 'storage' }, { cutAfter: mebibyte });
    failedWith(await copy('stream/big:1', 'cut'), /EOF|reset|digest|unexpected/i);
  });

  await t.test('takes a push, and its tokens are asked for with the scope of one', async () => {
    const registries = { stream: upstream, redirect: upstream, outside };
    for (const [route, registry] of Object.entries(registries)) {
      const image = writeOciLayout(workspace, `to-${route}`, tinyImage(`to ${route}`));
      const push = ['copy', '--all', '--dest-tls-verify=false', `oci:${image.directory}:latest`];
      succeeded(await client([...push, `docker://${proxy.host}/${route}/to-${route}:1`]));
      assert.equal(registry.store.manifest(`team/to-${route}`, '1')?.digest, image.digest);
      assert.equal(registry.openUploads, 0);
      const scopes = registry.tokenRequests.flatMap((request) => request.scopes);
      assert.ok(scopes.includes(`repository:team/to-${route}:pull,push`), scopes.join(' '));
      succeeded(await copy(`${route}/to-${route}:1`, `from-${route}`));
    }
  });

  await t.test('leaves no secret in the output of the proxy', () => {
    const output = proxy.output();
    assert.ok(output.length > 0, 'output.length > 0');
    for (const secret of [password, upstreamPassword, 'X-Amz-Signature'])
      assert.ok(!output.includes(secret), secret);
  });
});

/** Two routes to the same registry, `stream/` and `redirect/`, and `outside/` to the other. */
async function startInFront(
  workspace: Workspace,
  upstream: MemoryRegistry,
  outside: MemoryRegistry,
): Promise<RunningProxy> {
  await writeHtpasswd(workspace, 'proxy/users.htpasswd', { alice: password });
  workspace.file('proxy/upstream-password', upstreamPassword);
  const credentials = { type: 'static', username: 'robot', password: { file: 'upstream-password' } };
  const hosted = { url: upstream.url, realm: upstream.tokenUrl, credentials };
  return startProxy(workspace, await proxyAddress(), {
    upstreams: {
      stream: { ...hosted, blobs: 'stream' },
      redirect: { ...hosted, blobs: 'redirect' },
      outside: { url: outside.url, realm: outside.tokenUrl, credentials },
    },
    routes: [
      { prefix: 'stream/', upstream: 'stream', rewrite: 'team/' },
      { prefix: 'redirect/', upstream: 'redirect', rewrite: 'team/' },
      { prefix: 'outside/', upstream: 'outside', rewrite: 'team/' },
    ],
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [{ names: ['local:*'], repositories: ['**'], actions: ['pull', 'push'] }],
    token: { keys: { directory: 'keys' } },
    log: { level: 'debug' },
  });
}

async function startHosted(workspace: Workspace, options: MemoryRegistryOptions): Promise<MemoryRegistry> {
  const upstream = await startMemoryRegistry({
    ...options,
    auth: { kind: 'token', username: 'robot', password: upstreamPassword, origin: 'other' },
    storage: { redirect: 'absolute' },
    pageSize: 2,
  });
  workspace.onClose(() => upstream.close());
  for (const tag of ['1', '2', '3', '4', '5']) upstream.putImage('team/tiny', tag, tinyImage('hello'));
  return upstream;
}

/** @returns the digest of the large layer */
async function putBigImage(upstream: MemoryRegistry, size: number): Promise<string> {
  const image = await bigImage({ layers: 1, size, seed: size });
  upstream.putImage('team/big', '1', image);
  const large = image.blobs.find((blob) => blob.size >= size);
  assert.ok(large, 'large');
  return large.digest;
}
