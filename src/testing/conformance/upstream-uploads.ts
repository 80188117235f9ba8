import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { digestOf } from '../../reference/digest.js';
import { parseRepositoryName } from '../../reference/repository-name.js';
import { failureOf, options, rejectsWith, type SubjectTest } from './suite.js';
import { blobOf, bodyOf, registryRequest } from './upstream-requests.js';
import type { UpstreamSubject } from './upstream-subject.js';

const o = options();
const repository = parseRepositoryName('my/app');
const start = { kind: 'upload', repository } as const;
const hello = Buffer.from('hello world');
const digest = digestOf(hello);
const bytes = { 'content-type': 'application/octet-stream' };

/** Opens a session. @returns its URL */
async function openSession({ upstream }: UpstreamSubject): Promise<string> {
  const opened = await upstream.fetch(registryRequest('POST', start, { 'content-length': '0' }), o);
  await bodyOf(opened);
  assert.equal(opened.status, 202);
  assert.ok(opened.location, 'the session’s absolute URL');
  return opened.location.href;
}

/** Sends a piece with its range. @returns the URL to go on with */
async function sendPiece({ upstream }: UpstreamSubject, session: string, first: number, last: number) {
  const headers = {
    ...bytes,
    'content-length': String(last - first + 1),
    'content-range': `${first}-${last}`,
  };
  const piece = Readable.from([hello.subarray(first, last + 1)]);
  const patched = await upstream.fetch(registryRequest('PATCH', { ...start, session }, headers, piece), o);
  await bodyOf(patched);
  assert.deepEqual([patched.status, patched.headers.get('range')], [202, `0-${last}`]);
  assert.ok(patched.location, 'the session’s absolute URL');
  return patched.location.href;
}

export const upstreamUploads: Record<string, SubjectTest<UpstreamSubject>> = {
  'an upload is opened, filled from a stream of unknown length, and closed': async (subject) => {
    const { upstream, registry } = subject;
    const session = await openSession(subject);
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
    assert.deepEqual([put.status, put.headers.get('docker-content-digest')], [201, digest]);
    assert.equal(put.location, undefined, 'where the blob is, its client is told by others');
    assert.ok(registry.store.blob('my/app', digest), 'the blob did not arrive');
  },
  'an upload in pieces keeps their order, and is closed without a body': async (subject) => {
    const { upstream, registry } = subject;
    let session = await sendPiece(subject, await openSession(subject), 0, 5);
    const early = registryRequest(
      'PATCH',
      { ...start, session },
      { ...bytes, 'content-length': '2', 'content-range': '9-10' },
      Readable.from([hello.subarray(9)]),
    );
    assert.equal((await rejectsWith(() => upstream.fetch(early, o), 'RANGE_INVALID')).status, 416);
    const status = await upstream.fetch(registryRequest('GET', { ...start, session }), o);
    await bodyOf(status);
    assert.deepEqual([status.status, status.headers.get('range')], [204, '0-5']);
    assert.ok(status.location, 'the session’s absolute URL');
    session = await sendPiece(subject, status.location.href, 6, 10);
    const last = registryRequest('PUT', { ...start, session, digest }, { 'content-length': '0' });
    const put = await upstream.fetch(last, o);
    await bodyOf(put);
    assert.equal(put.status, 201);
    assert.ok(registry.store.blob('my/app', digest), 'the blob did not arrive');
  },
  'a blob is put at once': async ({ upstream, registry }) => {
    const headers = { ...bytes, 'content-length': String(hello.length) };
    const body = Readable.from([hello]);
    const put = await upstream.fetch(registryRequest('POST', { ...start, digest }, headers, body), o);
    await bodyOf(put);
    // 202 is a session instead: a registry may know no single POST.
    assert.ok(put.status === 201 || put.status === 202, 'neither 201 nor 202');
    if (put.status === 202) assert.ok(put.location, 'the session’s absolute URL');
    else assert.ok(registry.store.blob('my/app', digest), 'the blob did not arrive');
  },
  'bytes of another digest are refused': async (subject) => {
    const { upstream, registry } = subject;
    const session = await openSession(subject);
    const other = digestOf(Buffer.from('something else'));
    const length = { ...bytes, 'content-length': String(hello.length) };
    const put = registryRequest('PUT', { ...start, session, digest: other }, length, Readable.from([hello]));
    assert.equal((await rejectsWith(() => upstream.fetch(put, o), 'DIGEST_INVALID')).status, 400);
    assert.equal(registry.store.blob('my/app', other), undefined);
  },
  'a body that is cut short fails, and leaves no blob': async (subject) => {
    const { upstream, registry } = subject;
    const session = await openSession(subject);
    registry.forgetRequests();
    const body = new Readable({ read() {} });
    body.push(hello.subarray(0, 5));
    const put = registryRequest(
      'PUT',
      { ...start, session, digest },
      { ...bytes, 'content-length': '11' },
      body,
    );
    const failure = failureOf(() => upstream.fetch(put, o));
    await registry.waitFor(({ method }) => method === 'PUT');
    body.destroy(new Error('the client left'));
    await failure;
    await registry.waitFor(({ method, closedEarly }) => method === 'PUT' && closedEarly);
    assert.equal(registry.store.blob('my/app', digest), undefined);
  },
  'aborting in the middle of a body releases the connection': async (subject) => {
    const { upstream, registry } = subject;
    const session = await openSession(subject);
    registry.forgetRequests();
    const body = new Readable({ read() {} });
    body.push(hello);
    const controller = new AbortController();
    const patch = registryRequest('PATCH', { ...start, session }, bytes, body);
    const failure = failureOf(() => upstream.fetch(patch, { signal: controller.signal }));
    await registry.waitFor(({ method }) => method === 'PATCH');
    const reason = new Error('nobody waits any more');
    controller.abort(reason);
    assert.equal(await failure, reason);
    await registry.waitFor(({ method, closedEarly }) => method === 'PATCH' && closedEarly);
  },
  'an upload that is to go on elsewhere is UNAVAILABLE': async (subject) => {
    const { upstream, registry } = subject;
    const session = await openSession(subject);
    for (const location of ['http://registry.invalid/v2/my/app/blobs/uploads/1', 'http://[', '']) {
      const remove = registry.faults.add({ server: 'registry', path: 'uploads/' }, { headers: { location } });
      const post = registryRequest('POST', start, { 'content-length': '0' });
      await rejectsWith(() => upstream.fetch(post, o), 'UNAVAILABLE');
      const patch = registryRequest('PATCH', { ...start, session }, bytes, Readable.from([hello]));
      await rejectsWith(() => upstream.fetch(patch, o), 'UNAVAILABLE');
      remove();
    }
  },
  'a session is asked for and cancelled': async (subject) => {
    const { upstream, registry } = subject;
    const session = { ...start, session: await openSession(subject) };
    const status = await upstream.fetch(registryRequest('GET', session), o);
    await bodyOf(status);
    assert.equal(status.status, 204);
    const cancelled = await upstream.fetch(registryRequest('DELETE', session), o);
    await bodyOf(cancelled);
    assert.equal(cancelled.status, 204);
    assert.equal(registry.openUploads, 0);
    await rejectsWith(() => upstream.fetch(registryRequest('GET', session), o), 'BLOB_UPLOAD_UNKNOWN');
  },
  'a blob is mounted from another repository': async ({ upstream, registry }) => {
    registry.putBlob('my/base', hello);
    const mount = { digest, from: parseRepositoryName('my/base') };
    const request = registryRequest('POST', { ...start, mount }, { 'content-length': '0' });
    const response = await upstream.fetch(request, o);
    await bodyOf(response);
    // 202 is an upload session instead of the mount: a registry may always choose it.
    assert.ok(response.status === 201 || response.status === 202, 'neither 201 nor 202');
    if (response.status === 201) assert.ok(registry.store.blob('my/app', digest), 'the blob did not arrive');
    else assert.ok(response.location, 'the session’s absolute URL');
  },
  'a mount of what is not there opens an upload': async ({ upstream }) => {
    const mount = { digest, from: parseRepositoryName('not/here') };
    const response = await upstream.fetch(
      registryRequest('POST', { ...start, mount }, { 'content-length': '0' }),
      o,
    );
    await bodyOf(response);
    assert.equal(response.status, 202);
    assert.ok(response.location, 'the session’s absolute URL');
  },
  'a blob is deleted': async ({ upstream, registry }) => {
    registry.putBlob('my/app', hello);
    const remove = () => upstream.fetch(registryRequest('DELETE', blobOf('my/app', digest)), o);
    const deleted = await remove();
    await bodyOf(deleted);
    assert.equal(deleted.status, 202);
    assert.equal(registry.store.blob('my/app', digest), undefined);
    await rejectsWith(remove, 'BLOB_UNKNOWN');
  },
};
