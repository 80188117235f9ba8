import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import type { RegistryRequest } from '../../contracts/registry-request.js';
import type { ImageFiles, StoredManifest } from '../memory-store.js';
import { artifactFor, tinyImage } from '../tiny-image.js';
import { failureOf, options, rejectsWith, type SubjectTest } from './suite.js';
import { bodyOf, manifestOf, registryRequest } from './upstream-requests.js';
import type { UpstreamSubject } from './upstream-subject.js';

const o = options();
const tooLarge = 4 * 1024 * 1024 + 1;

/** Everything of an image but its own manifest. */
function putContents({ registry }: UpstreamSubject, { blobs, children }: ImageFiles): void {
  for (const blob of blobs) registry.putBlob('my/app', blob);
  for (const child of children) registry.putManifest('my/app', child.digest, child.bytes, child.mediaType);
}

function putRequest(
  reference: string,
  { bytes, mediaType }: Pick<StoredManifest, 'bytes' | 'mediaType'>,
): RegistryRequest {
  const headers = { 'content-type': mediaType, 'content-length': String(bytes.length) };
  return registryRequest('PUT', manifestOf('my/app', reference), headers, Readable.from([bytes]));
}

export const upstreamManifests: Record<string, SubjectTest<UpstreamSubject>> = {
  'a manifest is put and deleted, by tag and by digest': async (subject) => {
    const { upstream, registry } = subject;
    const image = tinyImage('hello\n');
    const { root } = image;
    putContents(subject, image);
    for (const reference of ['v1', root.digest]) {
      const put = await upstream.fetch(putRequest(reference, root), o);
      await bodyOf(put);
      assert.deepEqual([put.status, put.headers.get('docker-content-digest')], [201, root.digest]);
      assert.equal(put.location, undefined, 'where the manifest is, its client is told by others');
      const stored = registry.store.manifest('my/app', reference);
      assert.deepEqual([stored?.bytes, stored?.mediaType], [root.bytes, root.mediaType]);
      const remove = () => upstream.fetch(registryRequest('DELETE', manifestOf('my/app', reference)), o);
      const deleted = await remove();
      await bodyOf(deleted);
      assert.equal(deleted.status, 202);
      assert.equal(registry.store.manifest('my/app', reference), undefined);
      await rejectsWith(remove, 'MANIFEST_UNKNOWN');
    }
    assert.deepEqual(registry.store.tags('my/app'), []);
  },
  'a manifest with a subject says that the registry took it': async (subject) => {
    const { upstream, registry } = subject;
    const target = registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    const artifact = artifactFor(target, 'application/x-sbom', 'a');
    putContents(subject, artifact);
    const put = await upstream.fetch(putRequest(artifact.root.digest, artifact.root), o);
    await bodyOf(put);
    assert.equal(put.headers.get('oci-subject'), target.digest);
  },
  'a manifest whose blobs are not there is refused': async ({ upstream, registry }) => {
    const { root } = tinyImage('hello\n');
    await rejectsWith(() => upstream.fetch(putRequest('v1', root), o), 'MANIFEST_BLOB_UNKNOWN');
    assert.equal(registry.store.manifest('my/app', 'v1'), undefined);
  },
  'a manifest of another digest is refused': async (subject) => {
    const { upstream, registry } = subject;
    const image = tinyImage('hello\n');
    putContents(subject, image);
    const other = `sha256:${'0'.repeat(64)}`;
    const error = await rejectsWith(() => upstream.fetch(putRequest(other, image.root), o), 'DIGEST_INVALID');
    assert.equal(error.status, 400);
    assert.equal(registry.store.manifest('my/app', other), undefined);
  },
  'a manifest over 4 MiB is refused': async ({ upstream, registry }) => {
    const large = { bytes: Buffer.alloc(tooLarge, ' '), mediaType: tinyImage('hello\n').root.mediaType };
    const error = await rejectsWith(
      () => upstream.fetch(putRequest('v1', large), o),
      'MANIFEST_INVALID',
      'SIZE_INVALID',
    );
    assert.equal(error.status, 413);
    assert.equal(registry.store.manifest('my/app', 'v1'), undefined);
  },
  'a manifest that is cut short fails': async (subject) => {
    const { upstream, registry } = subject;
    const image = tinyImage('hello\n');
    putContents(subject, image);
    const { bytes, mediaType } = image.root;
    const body = new Readable({ read() {} });
    body.push(bytes.subarray(0, 10));
    const headers = { 'content-type': mediaType, 'content-length': String(bytes.length) };
    const put = registryRequest('PUT', manifestOf('my/app', 'v1'), headers, body);
    const failure = failureOf(() => upstream.fetch(put, o));
    setImmediate(() => body.destroy(new Error('the client left')));
    await failure;
    assert.equal(registry.store.manifest('my/app', 'v1'), undefined);
  },
  'a registry that deletes nothing says UNSUPPORTED': async ({ upstream, registry }) => {
    registry.putImage('my/app', 'v1', tinyImage('hello\n'));
    const body = JSON.stringify({ errors: [{ code: 'UNSUPPORTED', message: 'no' }] });
    registry.faults.add({ method: 'DELETE' }, { answer: { status: 405, body } });
    const remove = () => upstream.fetch(registryRequest('DELETE', manifestOf('my/app', 'v1')), o);
    assert.equal((await rejectsWith(remove, 'UNSUPPORTED')).status, 405);
  },
};
