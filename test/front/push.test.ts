import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { before, beforeEach, describe, test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import {
  artifactFor,
  type MemoryRegistry,
  mediaTypes,
  startMemoryRegistry,
  tinyImage,
  tinyImageFor,
} from '../../src/testing/index.js';
import {
  type Answer,
  type Ask,
  assertError,
  bearer,
  closeUpload,
  type Front,
  locationOf,
  openUpload,
  patchUpload,
  pushBlob,
  pushImage,
  putManifest,
  sharedScope,
  startFront,
} from '../harness/index.js';

const mebibyte = 1024 * 1024;
const hello = Buffer.from('hello world');
const digest = digestOf(hello);
const empty = Buffer.alloc(0);
const auth = { kind: 'token', username: 'robot', password: 'upstream-password' } as const;

describe('pushing', () => {
  const scope = sharedScope();
  let registry: MemoryRegistry;
  let outside: MemoryRegistry;
  let absolute: MemoryRegistry;
  let front: Front;
  let token: string;

  before(async () => {
    const uploads = { minimumChunk: 5 };
    registry = await startMemoryRegistry({ auth, uploads: { ...uploads, location: 'relative' } });
    outside = await startMemoryRegistry({ uploads: { ...uploads, location: 'outside' } });
    absolute = await startMemoryRegistry({ uploads: { ...uploads, location: 'absolute' } });
    for (const one of [registry, outside, absolute]) scope.after(() => one.close());
    const credentials = 'credentials: { type: static, username: robot, password: { file: secret } }';
    front = await startFront(
      scope,
      `
upstreams:
  one: { url: "${registry.url}", defaultNamespace: library, ${credentials} }
  outside: { url: "${outside.url}" }
  absolute: { url: "${absolute.url}" }
routes:
  - { prefix: "", upstream: one, rewrite: inside/ }
  - { prefix: "hub/", upstream: one, ns: docker.io }
  - { prefix: "outside/", upstream: outside, rewrite: inside/ }
  - { prefix: "absolute/", upstream: absolute, rewrite: inside/ }
`,
      { files: { secret: 'upstream-password' } },
    );
    const scopes = ['app', 'hub/alpine', 'outside/app', 'absolute/app'];
    token = await front.token(
      'alice',
      scopes.map((name) => `repository:${name}:pull,push,delete`),
    );
  });

  beforeEach(() => {
    for (const one of [registry, outside, absolute]) {
      one.faults.clear();
      one.forgetRequests();
    }
  });

  const basicly: Ask = (path, options) => front.sendAs('alice', path, options);
  const tokenly: Ask = (path, options = {}) =>
    front.send(path, { ...options, headers: { authorization: bearer(token), ...options.headers } });

  const places = {
    app: () => ({ store: registry.store, name: 'inside/app' }),
    'hub/alpine': () => ({ store: registry.store, name: 'library/alpine' }),
    'outside/app': () => ({ store: outside.store, name: 'inside/app' }),
    'absolute/app': () => ({ store: absolute.store, name: 'inside/app' }),
  } as const;
  type Place = keyof typeof places;

  /** A Location of ours: a path under the name the client used, and nothing of the upstream's. */
  function assertOurs(answer: Answer, place: string, rest: RegExp): void {
    const location = locationOf(answer);
    assert.ok(location.startsWith(`/v2/${place}/`), location);
    assert.match(location.slice(`/v2/${place}/`.length), rest);
    const shown = `${answer.rawHeaders.join('\n')}\n${answer.text}`;
    for (const inside of ['inside', 'library', '_state', 'artifacts-uploads', registry.host, outside.host]) {
      assert.ok(!shown.includes(inside), `${inside} in ${shown}`);
    }
    assert.doesNotMatch(shown, /https?:/);
  }

  const sessionPath = /^blobs\/uploads\/[A-Za-z0-9_-]+$/;

  async function assertPulled(ask: Ask, place: string, bytes: Buffer): Promise<void> {
    const pulled = await ask(`/v2/${place}/blobs/${digestOf(bytes)}`);
    assert.equal(pulled.status, 200, pulled.text);
    assert.deepEqual(pulled.body, bytes);
  }

  for (const place of Object.keys(places) as Place[]) {
    for (const [how, ask] of [
      ['Basic', basicly],
      ['a token', tokenly],
    ] as const) {
      describe(`${place} with ${how}`, () => {
        test('POST, PUT with all bytes', async () => {
          const bytes = Buffer.from(`whole ${place} ${how}`);
          const opened = await ask(`/v2/${place}/blobs/uploads/`, { method: 'POST' });
          assert.equal(opened.status, 202);
          assertOurs(opened, place, sessionPath);
          assert.equal(opened.headers['content-length'], '0');
          assert.equal(opened.headers.range, '0-0');
          assert.equal(opened.headers['oci-chunk-min-length'], '5');
          assert.match(String(opened.headers['docker-upload-uuid']), /^[0-9a-f-]{36}$/);
          assert.equal(opened.headers['docker-distribution-api-version'], 'registry/2.0');
          const put = await closeUpload(ask, locationOf(opened), digestOf(bytes), bytes);
          assert.equal(put.status, 201, put.text);
          assertOurs(put, place, new RegExp(`^blobs/${digestOf(bytes)}$`));
          assert.equal(put.headers['docker-content-digest'], digestOf(bytes));
          const { store, name } = places[place]();
          assert.ok(store.blob(name, digestOf(bytes)), 'not under the upstream’s name');
          await assertPulled(ask, place, bytes);
        });

        test('POST, PATCHes with and without Content-Range, GET, PUT', async () => {
          const [first, second, third] = ['first ', `${place} `, how].map((text) => Buffer.from(text));
          const bytes = Buffer.concat([first ?? empty, second ?? empty, third ?? empty]);
          const until = (size: number) => `0-${size - 1}`;
          let session = await openUpload(ask, place);
          let sent = 0;
          for (const [piece, withRange] of [
            [first ?? empty, true],
            [second ?? empty, false],
          ] as const) {
            const range = { 'content-range': `${sent}-${sent + piece.length - 1}` };
            const answer = await patchUpload(ask, session, piece, withRange ? range : {});
            assert.equal(answer.status, 202, answer.text);
            assertOurs(answer, place, sessionPath);
            sent += piece.length;
            assert.equal(answer.headers.range, until(sent));
            session = locationOf(answer);
          }
          const status = await ask(session);
          assert.equal(status.status, 204);
          assert.equal(status.headers.range, until(sent));
          assert.equal(status.headers['content-length'], undefined);
          assertOurs(status, place, sessionPath);
          const put = await closeUpload(ask, locationOf(status), digestOf(bytes), third);
          assert.equal(put.status, 201, put.text);
          await assertPulled(ask, place, bytes);
        });

        test('POST with the digest and all bytes', async () => {
          const bytes = Buffer.from(`at once ${place} ${how}`);
          const path = `/v2/${place}/blobs/uploads/?digest=${digestOf(bytes)}`;
          const posted = await ask(path, {
            method: 'POST',
            body: bytes,
            headers: { 'content-type': 'application/octet-stream' },
          });
          assert.equal(posted.status, 201, posted.text);
          assertOurs(posted, place, new RegExp(`^blobs/${digestOf(bytes)}$`));
          await assertPulled(ask, place, bytes);
        });

        test('an image with its index', async () => {
          const image = tinyImage(`${place} ${how}`);
          const put = await pushImage(ask, place, 'v1', image);
          assert.equal(put.status, 201, put.text);
          assertOurs(put, place, new RegExp(`^manifests/${image.root.digest}$`));
          assert.equal(put.headers['docker-content-digest'], image.root.digest);
          for (const reference of ['v1', image.root.digest]) {
            const pulled = await ask(`/v2/${place}/manifests/${reference}`);
            assert.deepEqual(pulled.body, image.root.bytes);
            assert.equal(pulled.headers['content-type'], mediaTypes.index);
          }
        });
      });
    }
  }

  test('a stream of unknown length goes up as one', async () => {
    const session = await openUpload(basicly, 'app');
    const pieces = Array.from({ length: 20 }, (_, i) => Buffer.alloc(100_000, i));
    const patched = await patchUpload(basicly, session, Readable.from(pieces));
    assert.equal(patched.status, 202, patched.text);
    assert.equal(patched.headers.range, '0-1999999');
    const up = registry.requests.find(({ method }) => method === 'PATCH');
    assert.equal(up?.headers['transfer-encoding'], 'chunked');
    assert.equal(up?.receivedBytes, 2_000_000);
    const bytes = Buffer.concat(pieces);
    const put = await closeUpload(basicly, locationOf(patched), digestOf(bytes));
    assert.equal(put.status, 201, put.text);
    await assertPulled(basicly, 'app', bytes);
  });

  test('a client’s Location is the upstream’s own again on its way up', async () => {
    const session = await openUpload(basicly, 'hub/alpine');
    await closeUpload(basicly, session, digest, hello);
    const [put] = registry.requests.filter(({ method }) => method === 'PUT');
    assert.match(
      put?.path ?? '',
      /^\/v2\/library\/alpine\/blobs\/uploads\/[0-9a-f-]{36}\?_state=[0-9a-f-]{36}&digest=sha256(:|%3A)/,
    );
    assert.equal(put?.headers['content-type'], 'application/octet-stream');
    assert.equal(put?.headers['content-length'], String(hello.length));
  });

  test('one session under each of its names: the short, the canonical, and the mirror’s', async () => {
    const opened = await openUpload(basicly, 'hub/alpine');
    const canonical = opened.replace('/v2/hub/alpine/', '/v2/hub/library/alpine/');
    const patched = await patchUpload(basicly, canonical, hello.subarray(0, 5));
    assert.equal(patched.status, 202, patched.text);
    assert.ok(locationOf(patched).startsWith('/v2/hub/library/alpine/'), locationOf(patched));
    const mirror = locationOf(patched).replace('/v2/hub/library/alpine/', '/v2/alpine/');
    const put = await closeUpload(basicly, `${mirror}?ns=docker.io`, digest, hello.subarray(5));
    assert.equal(put.status, 201, put.text);
    assert.equal(locationOf(put), `/v2/alpine/blobs/${digest}?ns=docker.io`);
  });

  test('a mirror’s client is led back with its ns', async () => {
    const opened = await basicly('/v2/library/alpine/blobs/uploads/?ns=docker.io', { method: 'POST' });
    assert.match(
      locationOf(opened),
      /^\/v2\/library\/alpine\/blobs\/uploads\/[A-Za-z0-9_-]+\?ns=docker\.io$/,
    );
    const patched = await patchUpload(basicly, locationOf(opened), hello);
    assert.equal(patched.status, 202, patched.text);
    const put = await closeUpload(basicly, locationOf(patched), digest);
    assert.equal(put.status, 201, put.text);
    for (const path of ['/v2/hub/alpine/blobs/', '/v2/library/alpine/blobs/']) {
      const query = path.includes('hub') ? '' : '?ns=docker.io';
      assert.equal((await basicly(`${path}${digest}${query}`)).status, 200, path);
    }
  });

  for (const [what, push] of [
    ['POST and PUT', async () => closeUpload(basicly, await openUpload(basicly, 'app'), digestOf(empty))],
    ['PATCH of nothing', () => pushBlob(basicly, 'app', empty)],
    [
      'POST at once',
      () => basicly(`/v2/app/blobs/uploads/?digest=${digestOf(empty)}`, { method: 'POST', body: empty }),
    ],
  ] as const) {
    test(`a blob without bytes: ${what}`, async () => {
      registry.store.deleteBlob('inside/app', digestOf(empty));
      const answer = await push();
      assert.equal(answer.status, 201, answer.text);
      await assertPulled(basicly, 'app', empty);
    });
  }

  test('DELETE ends a session', async () => {
    const open = registry.openUploads;
    const session = await openUpload(basicly, 'app');
    assert.equal(registry.openUploads, open + 1);
    const ended = await basicly(session, { method: 'DELETE' });
    assert.equal(ended.status, 204, ended.text);
    assert.equal(ended.headers.location, undefined);
    assert.equal(registry.openUploads, open);
    assertError(await basicly(session), 404, 'BLOB_UPLOAD_UNKNOWN');
    assertError(await patchUpload(basicly, session, hello), 404, 'BLOB_UPLOAD_UNKNOWN');
  });

  test('an artifact with a subject: OCI-Subject, and the referrers list it', async () => {
    const image = tinyImageFor('amd64', 'subject');
    await pushImage(basicly, 'app', 'subject', image);
    const artifact = artifactFor(image.root, 'application/x-sbom', 'sbom');
    const put = await pushImage(basicly, 'app', artifact.root.digest, artifact);
    assert.equal(put.status, 201, put.text);
    assert.equal(put.headers['oci-subject'], image.root.digest);
    const list = await basicly(`/v2/app/referrers/${image.root.digest}`);
    const { manifests } = JSON.parse(list.text) as { manifests: { digest: string }[] };
    assert.deepEqual(
      manifests.map((one) => one.digest),
      [artifact.root.digest],
    );
  });

  test('DELETE of a tag, of a manifest and of a blob', async () => {
    const image = tinyImageFor('amd64', 'to be deleted');
    const [blob] = image.blobs;
    const { digest: root } = image.root;
    await pushImage(tokenly, 'app', 'gone', image);
    for (const [path, code] of [
      ['manifests/gone', 'MANIFEST_UNKNOWN'],
      [`manifests/${root}`, 'MANIFEST_UNKNOWN'],
      [`blobs/${blob?.digest}`, 'BLOB_UNKNOWN'],
    ] as const) {
      const deleted = await tokenly(`/v2/app/${path}`, { method: 'DELETE' });
      assert.equal(deleted.status, 202, deleted.text);
      assertError(await tokenly(`/v2/app/${path}`), 404, code);
      assertError(await tokenly(`/v2/app/${path}`, { method: 'DELETE' }), 404, code);
      // A tag goes alone; the manifest it named stays.
      if (path === 'manifests/gone') assert.equal((await tokenly(`/v2/app/manifests/${root}`)).status, 200);
    }
  });

  describe('what an upstream refuses', () => {
    test('a wrong digest: DIGEST_INVALID, and the session can still end well', async () => {
      const wrong = digestOf(Buffer.from('other'));
      const patched = await patchUpload(basicly, await openUpload(basicly, 'app'), hello);
      assertError(await closeUpload(basicly, locationOf(patched), wrong), 400, 'DIGEST_INVALID');
      assert.equal(registry.store.blob('inside/app', wrong), undefined);
      assert.equal((await closeUpload(basicly, locationOf(patched), digest)).status, 201);
    });

    test('PUT without a digest, and with one that is none: DIGEST_INVALID, and nothing goes up', async () => {
      const session = await openUpload(basicly, 'app');
      registry.forgetRequests();
      for (const query of ['', '?digest=', '?digest=x', '?digest=sha256:0']) {
        const answer = await basicly(session + query, { method: 'PUT', body: hello });
        assertError(answer, 400, 'DIGEST_INVALID');
      }
      assert.deepEqual(registry.requests, []);
    });

    test('a Content-Range that does not fit: 416 RANGE_INVALID', async () => {
      const session = await openUpload(basicly, 'app');
      const answer = await patchUpload(basicly, session, hello, { 'content-range': '5-15' });
      assertError(answer, 416, 'RANGE_INVALID');
    });

    test('a manifest over 4 MiB: 413 MANIFEST_INVALID, with and without a length', async () => {
      const bytes = Buffer.alloc(4 * mebibyte + 1, ' ');
      const headers = { 'content-type': mediaTypes.manifest };
      for (const body of [bytes, Readable.from([bytes])]) {
        const answer = await basicly('/v2/app/manifests/big', { method: 'PUT', body, headers });
        assertError(answer, 413, 'MANIFEST_INVALID');
      }
      assert.ok(
        registry.requests.every(({ method }) => method !== 'PUT'),
        'it went up',
      );
    });

    test('a manifest whose blobs are missing, and one that is none', async () => {
      const { root } = tinyImageFor('amd64', 'never pushed');
      assertError(await putManifest(basicly, 'app', 'x', root), 404, 'MANIFEST_BLOB_UNKNOWN');
      const none = { ...root, bytes: Buffer.from('{}') };
      assertError(await putManifest(basicly, 'app', 'x', none), 400, 'MANIFEST_INVALID');
      const wrong = digestOf(Buffer.from('other'));
      const image = tinyImageFor('amd64', 'pushed');
      await pushImage(basicly, 'app', 'x', image);
      assertError(await putManifest(basicly, 'app', wrong, image.root), 400, 'DIGEST_INVALID');
    });

    test('a session it does not know any more', async () => {
      const session = await openUpload(basicly, 'app');
      registry.faults.add({ method: 'PATCH' }, { answer: { status: 404 } });
      assertError(await patchUpload(basicly, session, hello), 404, 'BLOB_UPLOAD_UNKNOWN');
    });
  });

  for (const [what, origin] of [
    ['another scheme', 'https://127.0.0.1:'],
    ['another port', 'http://127.0.0.1:'],
  ] as const) {
    test(`an upstream whose Location has ${what} is reached where it is`, async () => {
      const direct = await fetch(`${absolute.url}/v2/inside/app/blobs/uploads/`, { method: 'POST' });
      const { pathname, search } = new URL(direct.headers.get('location') ?? assert.fail());
      const location = `${origin}9${pathname}${search}`;
      absolute.faults.add({ method: 'POST' }, { answer: { status: 202, headers: { location } } }, 1);
      const session = await openUpload(basicly, 'absolute/app');
      assert.equal((await closeUpload(basicly, session, digest, hello)).status, 201);
    });
  }

  test('what a session does not have is not served', async () => {
    const session = await openUpload(basicly, 'app');
    registry.forgetRequests();
    for (const method of ['HEAD', 'POST', 'OPTIONS']) {
      assert.equal((await basicly(session, { method })).status, 405, method);
    }
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE']) {
      assert.equal((await basicly('/v2/app/blobs/uploads/', { method })).status, 405, method);
    }
    assert.deepEqual(registry.requests, []);
  });
});
