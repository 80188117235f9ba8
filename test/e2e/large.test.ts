import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { get } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bigImage } from '../../src/testing/index.js';
import { succeeded } from './harness/command.js';
import { startFaultyFront } from './harness/faulty-front.js';
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
