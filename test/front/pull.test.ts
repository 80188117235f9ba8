import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import {
  bytesOf,
  generatedBlob,
  type MemoryRegistry,
  mediaTypes,
  type StoredManifest,
  startMemoryRegistry,
  tinyImage,
} from '../../src/testing/index.js';
import { assertError, bearer, type Front, sharedScope, startFront } from '../harness/index.js';

describe('pulling', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let stored: MemoryRegistry;
  let front: Front;
  let root: StoredManifest;
  const image = tinyImage('hello');
  const blob = image.blobs[0] ?? assert.fail();
  const bytes = bytesOf(blob);

  before(async () => {
    registry = await startMemoryRegistry({
      auth: { kind: 'basic', username: 'robot', password: 'upstream-password' },
    });
    stored = await startMemoryRegistry({ storage: { redirect: 'absolute', refuseHead: true } });
    scope.after(() => registry.close());
    scope.after(() => stored.close());
    root = registry.putImage('team/app', '1', image);
    registry.putImage('library/alpine', '3', image);
    stored.putImage('team/app', '1', image);
    front = await startFront(
      scope,
      `
upstreams:
  one: { url: "${registry.url}", credentials: { type: static, username: robot, password: { file: secret } }, defaultNamespace: library }
  streaming: { url: "${stored.url}" }
  redirecting: { url: "${stored.url}", blobs: redirect }
routes:
  - { prefix: "", upstream: one, rewrite: team/ }
  - { prefix: "hub/", upstream: one }
  - { prefix: "streaming/", upstream: streaming, rewrite: team/ }
  - { prefix: "redirecting/", upstream: redirecting, rewrite: team/ }
`,
      { files: { secret: 'upstream-password' } },
    );
  });

  const pull = (path: string, headers: Readonly<Record<string, string>> = {}, method = 'GET') =>
    front.sendAs('alice', `/v2/${path}`, { method, headers });
  const blobPath = `app/blobs/${blob.digest}`;

  test('a ping with credentials', async () => {
    const answer = await pull('');
    assert.equal(answer.status, 200);
    assert.equal(answer.text, '{}');
    assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0');
    assert.match(String(answer.headers['x-request-id']), /^[0-9a-f-]{36}$/);
  });

  test('a manifest by tag and by digest, with a token: its bytes and headers as they are', async () => {
    const token = await front.token('alice', ['repository:app:pull']);
    for (const reference of ['1', root.digest, root.digest.replace(':', '%3A')]) {
      const answer = await front.send(`/v2/app/manifests/${reference}`, {
        headers: { authorization: bearer(token) },
      });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(answer.body, root.bytes);
      assert.equal(answer.headers['content-type'], mediaTypes.index);
      assert.equal(answer.headers['docker-content-digest'], root.digest);
      assert.equal(answer.headers['content-length'], String(root.bytes.length));
    }
  });

  test('HEAD of a manifest', async () => {
    const answer = await pull('app/manifests/1', {}, 'HEAD');
    assert.equal(answer.status, 200);
    assert.equal(answer.body.length, 0);
    assert.equal(answer.headers['content-length'], String(root.bytes.length));
    assert.equal(answer.headers['docker-content-digest'], root.digest);
    assert.equal(answer.headers['content-type'], mediaTypes.index);
  });

  test('If-None-Match: 304 without a body', async () => {
    const etag = String((await pull('app/manifests/1')).headers.etag);
    for (const method of ['GET', 'HEAD']) {
      const answer = await pull('app/manifests/1', { 'if-none-match': etag }, method);
      assert.equal(answer.status, 304);
      assert.equal(answer.body.length, 0);
    }
  });

  test('a blob', async () => {
    for (const path of [blobPath, blobPath.replace('sha256:', 'sha256%3a')]) {
      const answer = await pull(path);
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.body, bytes);
      assert.equal(answer.headers['content-length'], String(bytes.length));
      assert.equal(answer.headers['docker-content-digest'], blob.digest);
    }
  });

  test('HEAD of a blob: also where the storage refuses HEAD, and never a redirect', async () => {
    for (const path of [blobPath, `streaming/${blobPath}`, `redirecting/${blobPath}`]) {
      const answer = await pull(path, {}, 'HEAD');
      assert.equal(answer.status, 200, path);
      assert.equal(answer.body.length, 0);
      assert.equal(answer.headers['content-length'], String(bytes.length), path);
      assert.equal(answer.headers['docker-content-digest'], blob.digest);
      assert.equal(answer.headers.location, undefined);
    }
  });

  for (const [range, status, from, to] of [
    ['bytes=10-19', 206, 10, 20],
    ['bytes=10-', 206, 10, bytes.length],
    ['bytes=-5', 206, bytes.length - 5, bytes.length],
    ['bytes=0-99999999', 206, 0, bytes.length],
    ['bytes=5-1', 200, 0, bytes.length],
    ['bytes=0-1,5-6', 200, 0, bytes.length],
    ['lines=1-2', 200, 0, bytes.length],
    ['bytes=x', 200, 0, bytes.length],
  ] as const) {
    for (const place of ['', 'streaming/']) {
      test(`Range ${range} of ${place}app: ${status}`, async () => {
        const answer = await pull(`${place}${blobPath}`, { range });
        assert.equal(answer.status, status);
        assert.ok(
          answer.body.equals(bytes.subarray(from, to)),
          'answer.body.equals(bytes.subarray(from, to))',
        );
        const expected = status === 206 ? `bytes ${from}-${to - 1}/${bytes.length}` : undefined;
        assert.equal(answer.headers['content-range'], expected);
      });
    }
  }

  test('a range beyond the end: 416', async () => {
    assertError(await pull(blobPath, { range: 'bytes=99999999-' }), 416, 'RANGE_INVALID');
  });

  test('a manifest has no parts: Range is ignored', async () => {
    const answer = await pull('app/manifests/1', { range: 'bytes=0-3' });
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.body, root.bytes);
  });

  test('stream: the storage is followed, and shown nothing', async () => {
    stored.forgetRequests();
    const answer = await pull(`streaming/${blobPath}`);
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.body, bytes);
    const fetched = stored.requests.filter((request) => request.server === 'storage');
    assert.equal(fetched.length, 1);
    assert.equal(fetched[0]?.headers.authorization, undefined);
  });

  test('redirect: the client gets the storage address, and no byte comes through us', async () => {
    stored.forgetRequests();
    const answer = await pull(`redirecting/${blobPath}`);
    assert.equal(answer.status, 307);
    assert.equal(answer.body.length, 0);
    assert.equal(answer.headers['content-length'], '0');
    assert.equal(answer.headers['docker-content-digest'], blob.digest);
    const location = String(answer.headers.location);
    assert.ok(location.startsWith(`${stored.storageUrl}/`), location);
    assert.deepEqual(
      stored.requests.filter((request) => request.server === 'storage'),
      [],
    );
    assert.deepEqual(Buffer.from(await (await fetch(location)).arrayBuffer()), bytes);
  });

  test('library/: one repository under two names', async () => {
    const canonical = ['repository:hub/library/alpine:pull'];
    for (const asked of ['hub/alpine', 'hub/library/alpine']) {
      const token = await front.token('alice', [`repository:${asked}:pull`]);
      for (const used of ['hub/alpine', 'hub/library/alpine']) {
        const headers = { authorization: bearer(token) };
        assert.equal((await front.send(`/v2/${used}/manifests/3`, { headers })).status, 200);
      }
      const challenge = (await front.send(`/v2/${asked}/manifests/3`)).headers['www-authenticate'];
      assert.ok(challenge?.includes(`scope="${canonical}"`), challenge);
    }
  });

  test('what the client sends reaches the upstream only from a list', async () => {
    registry.forgetRequests();
    const odd = {
      cookie: 'a=b',
      'x-forwarded-for': '1.2.3.4',
      'x-custom': 'c',
      accept: mediaTypes.index,
      te: 'trailers',
      'proxy-authorization': 'Basic x',
    };
    assert.equal((await pull('app/manifests/1', odd)).status, 200);
    for (const { headers } of registry.requests) {
      const names = Object.keys(headers).sort();
      const known = ['accept', 'accept-encoding', 'authorization', 'connection', 'host', 'user-agent'];
      assert.deepEqual(
        names.filter((name) => !known.includes(name)),
        [],
      );
    }
    assert.equal(registry.requests.at(-1)?.headers.accept, mediaTypes.index);
  });

  test('what the upstream sends reaches the client only from a list', async () => {
    const headers = {
      'set-cookie': 'a=b',
      server: 'Secret/1',
      'x-internal': 'y',
      link: '<http://x/>; rel="next"',
      'www-authenticate': 'Basic realm="up"',
    };
    const remove = registry.faults.add({ path: '/blobs/' }, { headers });
    const answer = await pull(blobPath);
    remove();
    assert.equal(answer.status, 200);
    for (const name of Object.keys(headers)) assert.equal(answer.headers[name], undefined, name);
  });

  test('a large blob keeps every byte', async () => {
    const large = await generatedBlob(20 * 1024 * 1024);
    registry.putBlob('team/app', large);
    const answer = await pull(`app/blobs/${large.digest}`);
    assert.equal(answer.body.length, large.size);
    assert.ok(answer.body.equals(bytesOf(large)), 'answer.body.equals(bytesOf(large))');
  });
});
