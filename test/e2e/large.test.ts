import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { get } from 'node:http';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bigImage, generatedBlob, startMemoryRegistry } from '../../src/testing/index.js';
import { closeUpload, locationOf, openUpload, patchUpload } from '../harness/pushing.js';
import { byHand } from './harness/by-hand.js';
import { succeeded } from './harness/command.js';
import { startDockerRegistry } from './harness/docker-registry.js';
import { startFaultyFront } from './harness/faulty-front.js';
import { startPlainFront } from './harness/plain-front.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

const mebibyte = 1024 * 1024;
/** The program itself, as built; under tsx the compiler would be measured too. */
const isBuilt = process.env.TEST_BUILT === '1';

test('a layer of 2 GiB does not grow the proxy', async (t) => {
  if (!requirePrograms(t, 'skopeo')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, registry, password } = await startFaultyFront(workspace);
  registry.putImage('team/huge', '1', await bigImage({ layers: 1, size: 2048 * mebibyte }));
  const from = [
    '--src-tls-verify=false',
    '--src-creds',
    `alice:${password}`,
    `docker://${proxy.host}/team/huge:1`,
  ];
  succeeded(await skopeo(workspace)(['copy', ...from, `dir:${workspace.path('copy')}`])); // it checks the digest
  if (isBuilt) assertMemoryBelow(proxy.peakMemory(), 200 * mebibyte);
});

test('200 slow clients at once all get their layer, and the proxy stays small', async (t) => {
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, registry, password } = await startFaultyFront(workspace);
  const image = await bigImage({ layers: 1, size: 16 * mebibyte });
  registry.putImage('team/big', '1', image);
  const layer = image.blobs.at(-1);
  const url = `${proxy.url}/v2/team/big/blobs/${layer?.digest}`;
  const digests = await Promise.all(
    Array.from({ length: 200 }, () => readSlowly(url, `alice:${password}`, 4 * mebibyte)),
  );
  assert.deepEqual(new Set(digests), new Set([layer?.digest]));
  if (isBuilt) assertMemoryBelow(proxy.peakMemory(), 250 * mebibyte);
});

test('a layer of 2 GiB, pushed, does not grow the proxy', async (t) => {
  if (!requirePrograms(t, 'skopeo')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const seed = await startMemoryRegistry();
  workspace.onClose(() => seed.close());
  seed.putImage('huge', '1', await bigImage({ layers: 1, size: 2048 * mebibyte }));
  const registry = await startDockerRegistry(workspace); // on disk, and it checks the digest
  const { proxy, password } = await startPlainFront(workspace, { url: registry.url });
  const copy = ['copy', '--preserve-digests', '--src-tls-verify=false', '--dest-tls-verify=false'];
  const as = ['--src-no-creds', '--dest-creds', `alice:${password}`];
  const images = [`docker://${seed.host}/huge:1`, `docker://${proxy.host}/team/huge:1`];
  // skopeo says how long it is; docker would compress it, and not know.
  succeeded(await skopeo(workspace)([...copy, ...as, ...images], undefined, { timeout: 300_000 }));
  const ask = byHand(proxy, password);
  const content = await generatedBlob(512 * mebibyte, 2);
  const session = await openUpload(ask, 'team/chunked');
  const patched = await patchUpload(ask, session, Readable.from(content.read(), { objectMode: false }));
  assert.deepEqual([patched.status, patched.headers.range], [202, `0-${content.size - 1}`], patched.text);
  const closed = await closeUpload(ask, locationOf(patched), content.digest);
  assert.equal(closed.status, 201, closed.text);
  if (isBuilt) assertMemoryBelow(proxy.peakMemory(), 200 * mebibyte);
});

test('50 uploads at once, of slow clients or to a slow registry, all arrive, and the proxy stays small', async (t) => {
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, registry, password } = await startFaultyFront(workspace);
  const ask = byHand(proxy, password);
  const content = await generatedBlob(16 * mebibyte, 3);
  const uploadAll = async (kind: string, body: () => Readable) => {
    const repositories = Array.from({ length: 50 }, (_, i) => `${kind}/app-${i}`);
    await Promise.all(
      repositories.map(async (repository) => {
        const patched = await patchUpload(ask, await openUpload(ask, repository), body());
        assert.equal(patched.status, 202, patched.text);
        const closed = await closeUpload(ask, locationOf(patched), content.digest);
        assert.equal(closed.status, 201, closed.text);
      }),
    );
    for (const repository of repositories) {
      assert.ok(registry.store.blob(repository, content.digest), `${repository}: the blob is not there`);
    }
  };
  await uploadAll('slow-client', () => Readable.from(slowly(content.read(), 4 * mebibyte)));
  registry.faults.add({ method: 'PATCH' }, { bodyRate: mebibyte });
  await uploadAll('slow-registry', () => Readable.from(content.read(), { objectMode: false }));
  if (isBuilt) assertMemoryBelow(proxy.peakMemory(), 300 * mebibyte);
});

/** Pauses every `piece` bytes. */
async function* slowly(pieces: Iterable<Buffer>, piece: number): AsyncGenerator<Buffer> {
  let given = 0;
  for (const chunk of pieces) {
    if (Math.floor(given / piece) !== Math.floor((given + chunk.length) / piece)) await sleep(1000);
    given += chunk.length;
    yield chunk;
  }
}

/** Stops reading for a while every `piece` bytes, so that the sender has to wait. @returns the digest of it all */
async function readSlowly(url: string, auth: string, piece: number): Promise<string> {
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    get(url, { auth, agent: false }, resolve).on('error', reject);
  });
  assert.equal(response.statusCode, 200);
  const hash = createHash('sha256');
  let read = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    hash.update(chunk);
    if (Math.floor(read / piece) !== Math.floor((read + chunk.length) / piece)) await sleep(1000);
    read += chunk.length;
  }
  return `sha256:${hash.digest('hex')}`;
}

function assertMemoryBelow(peak: number, limit: number): void {
  assert.ok(peak < limit, `the proxy held ${Math.round(peak / mebibyte)} MiB at its peak`);
}
