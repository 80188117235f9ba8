import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import { generatedBlob } from '../../src/testing/blob-content.js';
import { closeUpload, locationOf, openUpload, patchUpload } from '../harness/index.js';
import { asker } from './harness/ask.js';
import { writeCertificate } from './harness/certificate.js';
import { failedWith, succeeded } from './harness/command.js';
import { startContainerd, writeHosts } from './harness/containerd.js';
import { startFront } from './harness/front.js';
import { proxyAddress } from './harness/proxy.js';
import { requirePrograms } from './harness/require-programs.js';
import { skopeo } from './harness/skopeo.js';
import { openWorkspace } from './harness/workspace.js';

const mebibyte = 1024 * 1024;

test('a push over https', async (t) => {
  if (!requirePrograms(t, 'openssl', 'containerd', 'ctr')) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { certificate, key, directory } = await writeCertificate(workspace);
  const { proxy, image, passwords, stored, assertNoSecretWritten } = await startFront(workspace, {
    address: await proxyAddress('https'),
    settings: { tls: { certificate, key } },
  });
  const { host } = proxy;
  const as = `alice:${passwords.alice}`;

  await t.test('skopeo, which trusts the certificate', async () => {
    const push = ['copy', '--all', '--dest-creds', as, `oci:${image.directory}:latest`];
    const target = `docker://${host}/closed/https:1`;
    failedWith(await skopeo(workspace)([...push, target]), /certificate/);
    succeeded(await skopeo(workspace)([...push, '--dest-cert-dir', directory, target]));
    assert.equal(await stored('closed', 'https:1'), image.digest);
  });

  await t.test('containerd, which trusts the certificate', async () => {
    const { ctr, pull } = await startContainerd(workspace);
    // Without the file it takes a loopback address for plain http.
    const hosts = writeHosts(workspace, host, proxy.url, certificate);
    const user = ['--user', as, '--hosts-dir', hosts];
    succeeded(await pull(`${host}/closed/https:1`, [...user, '--all-platforms']));
    const names = [`${host}/open/https:2`, `${host}/closed/https:1`];
    succeeded(await ctr(['images', 'push', ...user, ...names]));
    assert.equal(await stored('open', 'https:2'), image.digest);
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);
});

test('a push in pieces, with a user name and password alone', async (t) => {
  if (!requirePrograms(t)) return;
  const workspace = await openWorkspace();
  t.after(() => workspace.close());
  const { proxy, closed, passwords, assertNoSecretWritten } = await startFront(workspace);
  const alice = asker(proxy, 'alice', passwords.alice);
  const carol = asker(proxy, 'carol', passwords.carol);

  await t.test('goes on after the proxy was restarted', async () => {
    const [first, second] = [Buffer.from('hello '), Buffer.from('world')];
    const whole = digestOf(Buffer.concat([first, second]));
    const session = await openUpload(alice, 'closed/pieces');
    assert.match(session, /^\/v2\/closed\/pieces\/blobs\/uploads\/[\w-]+$/, 'a path, of ours alone');
    const patched = await patchUpload(alice, session, first, { 'content-range': '0-5' });
    assert.deepEqual([patched.status, patched.headers.range], [202, '0-5']);
    await proxy.restart();
    const next = locationOf(patched);
    const status = await alice(next);
    assert.deepEqual([status.status, status.headers.range], [204, '0-5']);
    const again = await patchUpload(alice, locationOf(status), second, { 'content-range': '6-10' });
    assert.deepEqual([again.status, again.headers.range], [202, '0-10']);
    const closedUpload = await closeUpload(alice, locationOf(again), whole);
    assert.equal(closedUpload.status, 201, closedUpload.text);
    assert.equal(closedUpload.headers.location, `/v2/closed/pieces/blobs/${whole}`);
    const read = await alice(`/v2/closed/pieces/blobs/${whole}`);
    assert.equal(read.text, 'hello world');
  });

  await t.test('is nobody else’s, and of no other repository', async () => {
    const session = await openUpload(alice, 'closed/pieces');
    const foreign = await patchUpload(carol, session, Buffer.from('mine'));
    assert.equal(foreign.status, 403, foreign.text);
    const moved = session.replace('/closed/pieces/', '/closed/hers/pieces/');
    const before = closed.output().length;
    assert.equal((await patchUpload(carol, moved, Buffer.from('mine'))).status, 404);
    assert.doesNotMatch(closed.output().slice(before), /PATCH/);
    assert.equal((await alice(session, { method: 'DELETE' })).status, 204);
    assert.equal((await alice(session)).status, 404);
  });

  await t.test('of 256 MiB without the proxy holding it', async () => {
    const layer = await generatedBlob(256 * mebibyte);
    const before = proxy.peakMemory();
    // As docker does: of unknown length.
    const session = await openUpload(alice, 'closed/large');
    const patched = await patchUpload(alice, session, Readable.from(layer.read()));
    assert.equal(patched.headers.range, `0-${layer.size - 1}`, patched.text);
    const closedUpload = await closeUpload(alice, locationOf(patched), layer.digest);
    assert.equal(closedUpload.status, 201, closedUpload.text);
    assert.ok(proxy.peakMemory() - before < 128 * mebibyte, `${before} -> ${proxy.peakMemory()} bytes`);
  });

  await t.test('leaves no secret in the output of the proxy', assertNoSecretWritten);
});
