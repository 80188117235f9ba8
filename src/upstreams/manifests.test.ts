import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { digestOf } from '../reference/digest.js';
import { startMemoryRegistry } from '../testing/index.js';
import { bytesOfBody, failsWith, openUpstream, operations } from './opened-upstream.test.js';

const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, layers: [] }, null, 3));
const digest = digestOf(bytes);
const byTag = operations.manifest('team/app', 'v1');
const byDigest = operations.manifest('team/app', digest);

async function registry(t: TestContext) {
  const started = await startMemoryRegistry({ verifyBlobs: false });
  t.after(() => started.close());
  started.putManifest('team/app', 'v1', bytes, mediaType);
  return started;
}

describe('a manifest of an upstream', () => {
  const bare = { 'docker-content-digest': '' };
  const answers = {
    'as it should be': {},
    'without a digest': { headers: bare },
    'without a length': { framing: 'chunked' },
    'delimited by the end of its connection, without a digest': { framing: 'close', headers: bare },
    'with nonsense for a digest': { headers: { 'docker-content-digest': 'sha256:x' } },
  } as const;
  for (const [name, effect] of Object.entries(answers)) {
    test(`comes unchanged, with digest and length: ${name}`, async (t) => {
      const remote = await registry(t);
      remote.faults.add({ path: '/manifests/' }, effect);
      const { fetch } = await openUpstream(t, remote.url);
      for (const operation of [byTag, byDigest]) {
        const response = await fetch('GET', operation);
        assert.equal(response.headers.get('content-type'), mediaType);
        assert.equal(response.headers.get('docker-content-digest'), digest);
        assert.equal(response.headers.get('content-length'), String(bytes.length));
        assert.deepEqual(await bytesOfBody(response), bytes);
        const head = await fetch('HEAD', operation);
        assert.equal(head.body, undefined);
        assert.equal(head.headers.get('docker-content-digest'), digest);
        assert.equal(head.headers.get('content-length'), String(bytes.length));
      }
    });
  }

  test('a HEAD that says all is not followed by a GET', async (t) => {
    const remote = await registry(t);
    const { fetch } = await openUpstream(t, remote.url);
    await fetch('HEAD', byTag);
    const asked = remote.requests.filter((request) => request.path.includes('/manifests/'));
    assert.deepEqual(
      asked.map((request) => request.method),
      ['HEAD'],
    );
  });

  const broken = {
    'with other bytes': { corruptAt: 10 },
    'cut short': { cutAfter: 20 },
    'cut short, chunked': { cutAfter: 20, framing: 'chunked' },
    'cut short, to the end of its connection': {
      cutAfter: 20,
      framing: 'close',
      headers: { 'docker-content-digest': '' },
    },
    compressed: { headers: { 'content-encoding': 'gzip' } },
  } as const;
  for (const [name, effect] of Object.entries(broken)) {
    test(`is UNAVAILABLE ${name}`, async (t) => {
      const remote = await registry(t);
      remote.faults.add({ path: '/manifests/' }, effect);
      const { fetch } = await openUpstream(t, remote.url);
      for (const operation of [byTag, byDigest]) {
        await assert.rejects(fetch('GET', operation), failsWith('UNAVAILABLE'));
      }
    });
  }

  test('is MANIFEST_INVALID over 4 MiB, with its length known or not', async (t) => {
    const remote = await registry(t);
    const { fetch } = await openUpstream(t, remote.url);
    for (const framing of [undefined, 'chunked'] as const) {
      const answer = { status: 200, body: Buffer.alloc(4 * 1024 * 1024 + 1, ' ') };
      remote.faults.add({ path: '/manifests/' }, { answer, ...(framing && { framing }) }, 1);
      await assert.rejects(fetch('GET', byTag), failsWith('MANIFEST_INVALID'));
    }
  });

  test('answers 304 where it is known', async (t) => {
    const remote = await registry(t);
    const headers = { etag: '"x"' };
    remote.faults.add({ path: '/manifests/' }, { answer: { status: 304, headers } });
    const { fetch } = await openUpstream(t, remote.url);
    for (const method of ['GET', 'HEAD'] as const) {
      const response = await fetch(method, byTag, { headers: { 'if-none-match': '"x"' } });
      assert.equal(response.status, 304);
      assert.equal(response.body, undefined);
      assert.equal(response.headers.get('etag'), '"x"');
    }
    assert.equal(remote.requests.at(-1)?.headers['if-none-match'], '"x"');
  });

  test('a HEAD that is not known here is asked by a GET', async (t) => {
    const remote = await registry(t);
    remote.faults.add({ method: 'HEAD' }, { answer: { status: 405 } });
    const { fetch } = await openUpstream(t, remote.url);
    assert.equal((await fetch('HEAD', byTag)).headers.get('docker-content-digest'), digest);
  });

  test('that is signed by schema 1 keeps its own digest', async (t) => {
    const remote = await registry(t);
    const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    const other = digestOf(Buffer.from('the signed part'));
    const headers = { 'content-type': type, 'docker-content-digest': other };
    remote.faults.add({ path: '/manifests/' }, { answer: { status: 200, headers, body: bytes } });
    const { fetch } = await openUpstream(t, remote.url);
    const response = await fetch('GET', byTag);
    assert.equal(response.headers.get('docker-content-digest'), other);
    response.body?.destroy();
  });
});
