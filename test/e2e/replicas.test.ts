import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import { bigImage, startMemoryRegistry } from '../../src/testing/index.js';
import { bearer } from '../harness/client.js';
import { type Ask, closeUpload, locationOf, openUpload, patchUpload } from '../harness/pushing.js';
import { byHand } from './harness/by-hand.js';
import { succeeded } from './harness/command.js';
import { startDockerd } from './harness/dockerd.js';
import { logLines } from './harness/faulty-front.js';
import type { RunningProxy } from './harness/proxy.js';
import { type Replicas, startReplicas } from './harness/replicas.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// Two processes that know nothing of each other but their keys: what one has begun the other goes on with.

const mebibyte = 1024 * 1024;

const ways: readonly (readonly [string, (workspace: Workspace) => readonly [object, object]])[] = [
  [
    'a directory of keys, which is empty when both start',
    () => [{ directory: 'shared-keys' }, { directory: 'shared-keys' }],
  ],
  ['supplied keys', (workspace) => [{ files: suppliedKeys(workspace) }, { files: suppliedKeys(workspace) }]],
  [
    'supplied keys, in the middle of their rotation',
    (workspace) => [{ files: suppliedKeys(workspace) }, { files: suppliedKeys(workspace).toReversed() }],
  ],
];

/** @returns the same two files each time */
function suppliedKeys(workspace: Workspace): readonly string[] {
  return ['old.pem', 'new.pem'].map((name) => {
    const file = `proxy/${name}`;
    try {
      workspace.read(file);
    } catch {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      workspace.file(file, privateKey.export({ format: 'pem', type: 'pkcs8' }).toString());
    }
    return name;
  });
}

for (const [what, keysOf] of ways) {
  test(`replicas with ${what}`, async (t) => {
    if (!requirePrograms(t, 'docker', 'dockerd', 'containerd', 'ctr')) return;
    const workspace = await openWorkspace();
    t.after(() => workspace.close());
    const registry = await startMemoryRegistry();
    workspace.onClose(() => registry.close());
    const replicas = await startReplicas(workspace, { url: registry.url }, keysOf(workspace));
    const { balancer, proxies, password } = replicas;
    registry.putImage('seed/big', '1', await bigImage({ layers: 3, size: mebibyte }));

    await t.test('docker logs in, pushes and pulls', async () => {
      const { docker } = await startDockerd(workspace);
      const target = `${balancer.host}/docker/big:1`;
      succeeded(
        await docker(['login', '-u', 'alice', '--password-stdin', balancer.host], { input: password }),
      );
      succeeded(await docker(['pull', `${balancer.host}/seed/big:1`]));
      succeeded(await docker(['tag', `${balancer.host}/seed/big:1`, target]));
      succeeded(await docker(['push', target]));
      succeeded(await docker(['image', 'rm', '--force', target, `${balancer.host}/seed/big:1`]));
      succeeded(await docker(['pull', target]));
      for (const proxy of proxies) assertServed(proxy, 'docker/big');
    });

    await t.test('skopeo pushes and pulls', async () => {
      const copy = ['copy', '--src-tls-verify=false', '--dest-tls-verify=false'];
      const as = (side: string) => [`--${side}-creds`, `alice:${password}`];
      const [source, target] = [
        `docker://${registry.host}/seed/big:1`,
        `docker://${balancer.host}/skopeo/big:1`,
      ];
      const client = skopeo(workspace);
      succeeded(await client([...copy, '--src-no-creds', ...as('dest'), source, target]));
      succeeded(await client([...copy, ...as('src'), target, `dir:${workspace.path('copy')}`]));
      for (const proxy of proxies) assertServed(proxy, 'skopeo/big');
    });

    await t.test('an upload goes on at the other with every step', () => alternate(replicas));
  });
}

/** A part of the push reached this process. */
function assertServed(proxy: RunningProxy, repository: string): void {
  const lines = logLines(proxy, 'access').filter((line) => line.repository === repository);
  const uploads = lines.filter(({ operation, status }) => operation === 'upload' && Number(status) < 300);
  assert.ok(uploads.length > 0, `${proxy.host} had no part in the push to ${repository}`);
}

async function alternate({ proxies, password }: Replicas): Promise<void> {
  const [first, second] = proxies.map((proxy) => byHand(proxy, password)) as [Ask, Ask];
  const asked = await first('/token?scope=repository:raw/app:pull,push');
  const { token } = JSON.parse(asked.text) as { token: string };
  // A token of the first, at the second.
  const withToken: Ask = (path, options = {}) =>
    second(path, { ...options, headers: { ...options.headers, authorization: bearer(token) } });
  const content = Buffer.from('one two three');
  const session = await openUpload(first, 'raw/app');
  const patched = await patchUpload(withToken, session, content.subarray(0, 4));
  assert.deepEqual([patched.status, patched.headers.range], [202, '0-3'], patched.text);
  const status = await first(locationOf(patched));
  assert.deepEqual([status.status, status.headers.range], [204, '0-3'], status.text);
  const again = await patchUpload(first, locationOf(status), content.subarray(4));
  assert.equal(again.status, 202, again.text);
  const digest = digestOf(content);
  const closed = await closeUpload(withToken, locationOf(again), digest);
  assert.equal(closed.status, 201, closed.text);
  const blob = await first(`/v2/raw/app/blobs/${digest}`);
  assert.equal(blob.text, content.toString());
}
