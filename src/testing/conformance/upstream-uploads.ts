import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { digestOf } from '../../reference/digest.js';
import { parseRepositoryName } from '../../reference/repository-name.js';
import { tinyImage } from '../tiny-image.js';
import { options, rejectsWith, type SubjectTest } from './suite.js';
import { bodyOf, manifestOf, registryRequest } from './upstream-requests.js';
import type { UpstreamSubject } from './upstream-subject.js';

const o = options();
const repository = parseRepositoryName('my/app');
const hello = Buffer.from('hello world');
const digest = digestOf(hello);
const bytes = { 'content-type': 'application/octet-stream' };

export const upstreamUploads: Record<string, SubjectTest<UpstreamSubject>> = {
  'an upload is opened, filled from a stream of unknown length, and closed': async ({
    upstream,
    registry,
  }) => {
    const start = { kind: 'upload', repository } as const;
    const opened = await upstream.fetch(registryRequest('POST', start, { 'content-length': '0' }), o);
    await bodyOf(opened);
    assert.equal(opened.status, 202);
    assert.ok(opened.location, 'the session’s absolute URL');
    const session = opened.location.href;
    const chunk = Readable.from([hello.subarray(0, 3), hello.subarray(3, 6)]);
    const patched = await upstream.fetch(registryRequest('PATCH', { ...start, session }, bytes, chunk), o);
    await bodyOf(patched);
    assert.deepEqual([patched.status, patched.headers.get('range')], [202, '0-5']);
    assert.ok(patched.location, 'the session’s absolute URL');
    const last = { ...start, session: patched.location.href, digest };
    const length = { ...bytes, 'content-length': '5' };
    const put = await upstream.fetch(
      registryRequest('PUT', last, length, Readable.from([hello.subarray(6)])),
      o,
    );
    await bodyOf(put);
    assert.equal(put.status, 201);
    assert.ok(registry.store.blob('my/app', digest), 'the blob did not arrive');
  },
  'a session is asked for and cancelled': async ({ upstream, registry }) => {
    const start = { kind: 'upload', repository } as const;
    const opened = await upstream.fetch(registryRequest('POST', start, { 'content-length': '0' }), o);
    await bodyOf(opened);
    assert.ok(opened.location, 'the session’s absolute URL');
    const session = { ...start, session: opened.location.href };
    const status = await upstream.fetch(registryRequest('GET', session), o);
    await bodyOf(status);
    assert.equal(status.status, 204);
    await bodyOf(await upstream.fetch(registryRequest('DELETE', session), o));
    assert.equal(registry.openUploads, 0);
    await rejectsWith(() => upstream.fetch(registryRequest('GET', session), o), 'BLOB_UPLOAD_UNKNOWN');
  },
  'a blob is mounted from another repository': async ({ upstream, registry }) => {
    registry.putBlob('my/base', hello);
    const mount = { digest, from: parseRepositoryName('my/base') };
    const request = registryRequest('POST', { kind: 'upload', repository, mount }, { 'content-length': '0' });
    const response = await upstream.fetch(request, o);
    await bodyOf(response);
    // 202 is an upload session instead of the mount: a registry may always choose it.
    assert.ok(response.status === 201 || response.status === 202, 'neither 201 nor 202');
    if (response.status === 201) assert.ok(registry.store.blob('my/app', digest), 'the blob did not arrive');
  },
  'a manifest is put and deleted': async ({ upstream, registry }) => {
    const { root, blobs, children } = tinyImage('hello\n');
    for (const blob of blobs) registry.putBlob('my/app', blob);
    for (const child of children) registry.putManifest('my/app', child.digest, child.bytes, child.mediaType);
    const headers = { 'content-type': root.mediaType, 'content-length': String(root.bytes.length) };
    const body = Readable.from([root.bytes]);
    const put = await upstream.fetch(registryRequest('PUT', manifestOf('my/app', 'v1'), headers, body), o);
    await bodyOf(put);
    assert.deepEqual([put.status, put.headers.get('docker-content-digest')], [201, root.digest]);
    assert.deepEqual(registry.store.manifest('my/app', 'v1')?.bytes, root.bytes);
    await bodyOf(await upstream.fetch(registryRequest('DELETE', manifestOf('my/app', 'v1')), o));
    assert.deepEqual(registry.store.tags('my/app'), []);
  },
};
