import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  bytesOf,
  FakeClock,
  generatedBlob,
  type MemoryRegistry,
  type MemoryRegistryOptions,
  startMemoryRegistry,
  tinyImage,
} from '../../src/testing/index.js';
import { type Answer, assertError, type Front, putManifest, startFront } from '../harness/index.js';

interface House {
  readonly registry: MemoryRegistry;
  readonly front: Front;
  readonly clock: FakeClock;
  /** As alice. */
  pull(path: string, headers?: Readonly<Record<string, string>>, method?: string): Promise<Answer>;
  /** Requests that came to the registry for this path, as `GET` and `HEAD`. */
  asked(path: string): readonly string[];
}

const hub = (settings = '') => `cache: { path: cache, maxSize: 100MB${settings} }`;

async function open(
  t: TestContext,
  {
    cache = hub(),
    blobs = 'stream',
    routes = '',
    options = {},
  }: { cache?: string; blobs?: string; routes?: string; options?: MemoryRegistryOptions } = {},
): Promise<House> {
  const registry = await startMemoryRegistry(options);
  t.after(() => registry.close());
  const clock = new FakeClock(Date.now());
  const front = await startFront(
    t,
    `
upstreams:
  hub: { url: "${registry.url}", blobs: ${blobs}, ${cache} }
routes:
  - { prefix: "", upstream: hub, rewrite: team/ }
${routes}`,
    { clock },
  );
  return {
    registry,
    front,
    clock,
    pull: (path, headers = {}, method = 'GET') => front.sendAs('alice', `/v2/${path}`, { method, headers }),
    asked: (path) => registry.requests.filter((one) => one.path.includes(path)).map(({ method }) => method),
  };
}

const image = tinyImage('hello');
const [blob = assert.fail()] = image.blobs;
const status = (answer: Answer) =>
  String(answer.headers['cache-status']).replace('docker-registry-proxy; ', '');

describe('pulling through a cache', () => {
  test('manifests and blobs are asked for once, and are the same bytes each time', async (t) => {
    const { registry, front, pull, asked } = await open(t);
    const root = registry.putImage('team/app', '1', image);
    for (const [i, expected] of ['fwd=miss', 'hit', 'hit'].entries()) {
      const manifest = await pull(`app/manifests/${root.digest}`);
      assert.equal(manifest.status, 200, manifest.text);
      assert.deepEqual(manifest.body, root.bytes);
      assert.equal(manifest.headers['content-type'], root.mediaType);
      assert.equal(manifest.headers['docker-content-digest'], root.digest);
      assert.equal(status(manifest), expected, `manifest ${i}`);
      const bytes = await pull(`app/blobs/${blob.digest}`);
      assert.equal(bytes.status, 200, bytes.text);
      assert.deepEqual(bytes.body, bytesOf(blob));
      assert.equal(bytes.headers['content-length'], String(blob.size));
      assert.equal(status(bytes), expected, `blob ${i}`);
    }
    assert.deepEqual(asked('/manifests/'), ['GET']);
    assert.deepEqual(asked('/blobs/'), ['GET']);
    const counted = (kind: string, result: string) =>
      front.metric(`registry_proxy_cache_requests_total{upstream="hub",kind="${kind}",result="${result}"}`);
    assert.equal(await counted('manifest', 'hit'), 2);
    assert.equal(await counted('blob', 'miss'), 1);
    const line = await front.logLine((one) => one.operation === 'blob' && one.cache === 'hit');
    assert.equal(line.bytes, blob.size);
  });

  test('a client that may not pull gets nothing of what another one has pulled', async (t) => {
    const { registry, front, pull } = await open(t);
    const root = registry.putImage('team/app', '1', image);
    await pull(`app/manifests/${root.digest}`);
    await pull(`app/blobs/${blob.digest}`);
    for (const path of [`app/manifests/${root.digest}`, 'app/manifests/1', `app/blobs/${blob.digest}`]) {
      for (const user of ['bob', 'eve'] as const) {
        assertError(await front.sendAs(user, `/v2/${path}`), 403, 'DENIED');
      }
      assert.equal((await front.send(`/v2/${path}`)).status, 401);
    }
  });

  test('bytes that are here are served of a repository only once it is known to hold them', async (t) => {
    const { registry, pull, asked } = await open(t);
    registry.putImage('team/app', '1', image);
    registry.putImage('team/empty', '1', tinyImage('other'));
    registry.putBlob('team/copy', blob);
    await pull(`app/blobs/${blob.digest}`);
    assertError(await pull(`empty/blobs/${blob.digest}`), 404, 'BLOB_UNKNOWN');
    const copy = await pull(`copy/blobs/${blob.digest}`);
    assert.deepEqual(copy.body, bytesOf(blob));
    assert.equal(status(copy), 'hit; detail=revalidated');
    assert.equal(status(await pull(`copy/blobs/${blob.digest}`)), 'hit');
    assert.deepEqual(asked('/team/copy/blobs/'), ['HEAD']);
  });

  test('what a repository holds is asked about again after contentFreshness', async (t) => {
    const { registry, pull, asked, clock } = await open(t, { cache: hub(', contentFreshness: 1h') });
    const root = registry.putImage('team/app', '1', image);
    const paths = [`app/manifests/${root.digest}`, `app/blobs/${blob.digest}`];
    for (const path of paths) await pull(path);
    clock.advance(3_599_000);
    for (const path of paths) assert.equal(status(await pull(path)), 'hit');
    clock.advance(2_000);
    for (const path of paths) assert.equal(status(await pull(path)), 'hit; detail=revalidated');
    for (const path of paths) assert.equal(status(await pull(path)), 'hit');
    assert.deepEqual(asked('/blobs/'), ['GET', 'HEAD']);
    clock.advance(3_700_000);
    registry.faults.add({ path: '/blobs/' }, { answer: { status: 404 } });
    assertError(await pull(paths[1] ?? ''), 404, 'BLOB_UNKNOWN');
  });

  test('parts, conditions and HEAD are answered from the cache', async (t) => {
    const { registry, pull, asked } = await open(t);
    const root = registry.putImage('team/app', '1', image);
    const whole = bytesOf(blob);
    const path = `app/blobs/${blob.digest}`;
    await pull(path);
    const etag = `"${blob.digest}"`;
    const cases: readonly [Readonly<Record<string, string>>, number, Buffer][] = [
      [{ range: 'bytes=0-3' }, 206, whole.subarray(0, 4)],
      [{ range: 'bytes=5-' }, 206, whole.subarray(5)],
      [{ range: 'bytes=-4' }, 206, whole.subarray(-4)],
      [{ range: `bytes=2-${whole.length + 50}` }, 206, whole.subarray(2)],
      [{ range: 'bytes=1-2', 'if-range': etag }, 206, whole.subarray(1, 3)],
      [{ range: 'bytes=1-2', 'if-range': '"other"' }, 200, whole],
      [{ range: 'bytes=1-2,4-5' }, 200, whole],
      [{ 'if-none-match': etag }, 304, Buffer.alloc(0)],
      [{ 'if-none-match': '"other"' }, 200, whole],
    ];
    for (const [headers, expected, bytes] of cases) {
      const answer = await pull(path, headers);
      assert.equal(answer.status, expected, JSON.stringify(headers));
      assert.ok(answer.body.equals(bytes), JSON.stringify(headers));
    }
    const beyond = await pull(path, { range: `bytes=${whole.length}-` });
    assertError(beyond, 416, 'RANGE_INVALID');
    const head = await pull(path, {}, 'HEAD');
    assert.equal(head.status, 200);
    assert.equal(head.headers['content-length'], String(whole.length));
    await pull(`app/manifests/${root.digest}`);
    const manifest = await pull(`app/manifests/${root.digest}`, {}, 'HEAD');
    assert.equal(manifest.headers['content-length'], String(root.bytes.length));
    assert.equal((await pull(`app/manifests/${root.digest}`, { 'if-none-match': root.digest })).status, 304);
    assert.deepEqual(asked('/blobs/'), ['GET']);
    assert.deepEqual(asked('/manifests/'), ['GET']);
  });

  test('a part and a HEAD of what is not here are passed on', async (t) => {
    const { registry, pull, asked } = await open(t);
    const root = registry.putImage('team/app', '1', image);
    const part = await pull(`app/blobs/${blob.digest}`, { range: 'bytes=0-3' });
    assert.equal(part.status, 206);
    assert.deepEqual(part.body, bytesOf(blob).subarray(0, 4));
    assert.equal(status(part), 'fwd=bypass');
    assert.equal((await pull(`app/blobs/${blob.digest}`, {}, 'HEAD')).status, 200);
    assert.equal((await pull('app/manifests/1', {}, 'HEAD')).headers['docker-content-digest'], root.digest);
    assert.deepEqual(asked('/blobs/'), ['GET', 'HEAD']);
    assert.deepEqual(asked('/manifests/'), ['HEAD']);
  });

  test('it overrides redirect, and a route can do without it', async (t) => {
    const { registry, pull } = await open(t, {
      blobs: 'redirect',
      routes: '  - { prefix: "plain/", upstream: hub, rewrite: team/, cache: false }',
      options: { storage: { redirect: 'absolute' } },
    });
    registry.putImage('team/app', '1', image);
    const path = `app/blobs/${blob.digest}`;
    assert.equal((await pull(`plain/${path}`)).status, 307);
    for (const expected of ['fwd=miss', 'hit']) {
      const answer = await pull(path);
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.body, bytesOf(blob));
      assert.equal(status(answer), expected);
    }
    assert.equal((await pull(`plain/${path}`)).status, 307);
    assert.equal((await pull(`plain/${path}`)).headers['cache-status'], undefined);
  });
});

describe('a tag in the cache', () => {
  test('without freshness it is asked for each time, by HEAD, and fetched when it moved', async (t) => {
    const { registry, pull, asked } = await open(t);
    const first = registry.putImage('team/app', 'latest', image);
    assert.equal(status(await pull('app/manifests/latest')), 'fwd=miss');
    const again = await pull('app/manifests/latest');
    assert.equal(status(again), 'hit; detail=revalidated');
    assert.deepEqual(again.body, first.bytes);
    const second = registry.putImage('team/app', 'latest', tinyImage('moved'));
    assert.deepEqual((await pull('app/manifests/latest')).body, second.bytes);
    assert.deepEqual(asked('/manifests/'), ['GET', 'HEAD', 'HEAD', 'GET']);
  });

  test('while it is fresh nobody is asked', async (t) => {
    const { registry, pull, asked, clock } = await open(t, { cache: hub(', tagFreshness: 1m') });
    const first = registry.putImage('team/app', 'latest', image);
    await pull('app/manifests/latest');
    const second = registry.putImage('team/app', 'latest', tinyImage('moved'));
    clock.advance(59_000);
    const fresh = await pull('app/manifests/latest');
    assert.deepEqual(fresh.body, first.bytes);
    assert.equal(status(fresh), 'hit');
    clock.advance(2_000);
    assert.deepEqual((await pull('app/manifests/latest')).body, second.bytes);
    assert.deepEqual(asked('/manifests/'), ['GET', 'HEAD', 'GET']);
  });

  test('is another one for a client that accepts other types', async (t) => {
    const { registry, pull, asked } = await open(t, { cache: hub(', tagFreshness: 1h') });
    registry.putImage('team/app', 'latest', image);
    const index = 'application/vnd.oci.image.index.v1+json';
    const manifest = 'application/vnd.oci.image.manifest.v1+json';
    await pull('app/manifests/latest', { accept: `${index}, ${manifest}` });
    assert.equal(status(await pull('app/manifests/latest', { accept: `${manifest};q=0.5,${index}` })), 'hit');
    assert.equal(status(await pull('app/manifests/latest', { accept: manifest })), 'fwd=miss');
    assert.deepEqual(asked('/manifests/'), ['GET', 'GET']);
  });

  test('a push and a deletion through this proxy are seen at once', async (t) => {
    const { registry, front, pull } = await open(t, { cache: hub(', tagFreshness: 1h, missFreshness: 5m') });
    const first = registry.putImage('team/app', 'latest', image);
    const other = registry.putImage('team/app', 'other', tinyImage('other'));
    const ask = (path: string, options = {}) => front.sendAs('alice', path, options);
    assertError(await pull('app/manifests/new'), 404, 'MANIFEST_UNKNOWN');
    await pull('app/manifests/latest');
    for (const tag of ['new', 'latest']) {
      const pushed = await putManifest(ask, 'app', tag, { ...other, bytes: Buffer.from(other.bytes) });
      assert.equal(pushed.status, 201, pushed.text);
      assert.deepEqual((await pull(`app/manifests/${tag}`)).body, other.bytes);
    }
    await pull(`app/manifests/${first.digest}`);
    const deleted = await ask(`/v2/app/manifests/${other.digest}`, { method: 'DELETE' });
    assert.equal(deleted.status, 202, deleted.text);
    for (const reference of [other.digest, 'latest']) {
      assertError(await pull(`app/manifests/${reference}`), 404, 'MANIFEST_UNKNOWN');
    }
    assert.equal((await pull(`app/manifests/${first.digest}`)).status, 200);
  });

  test('a push by a route without the cache is seen by the one with it', async (t) => {
    const { registry, front, pull } = await open(t, {
      cache: hub(', tagFreshness: 1h'),
      routes: '  - { prefix: "plain/", upstream: hub, rewrite: team/, cache: false }',
    });
    registry.putImage('team/app', 'latest', image);
    const other = registry.putImage('team/app', 'other', tinyImage('other'));
    await pull('app/manifests/latest');
    const ask = (path: string, options = {}) => front.sendAs('alice', path, options);
    await putManifest(ask, 'plain/app', 'latest', { ...other, bytes: Buffer.from(other.bytes) });
    assert.deepEqual((await pull('app/manifests/latest')).body, other.bytes);
  });

  test('an answer that was on its way while somebody pushed is not kept', async (t) => {
    const { registry, front, pull } = await open(t, { cache: hub(', tagFreshness: 1h') });
    registry.putImage('team/app', 'latest', image);
    const other = registry.putImage('team/app', 'other', tinyImage('other'));
    const old = registry.store.manifest('team/app', 'latest');
    assert.ok(old, 'no manifest');
    // What was read before the push comes after it.
    registry.faults.add(
      { method: 'GET', path: '/manifests/latest' },
      {
        delay: 300,
        answer: {
          status: 200,
          headers: { 'content-type': old.mediaType, 'docker-content-digest': old.digest },
          body: old.bytes,
        },
      },
      1,
    );
    const slow = pull('app/manifests/latest');
    await registry.waitFor(({ path }) => path.includes('/manifests/latest'));
    const ask = (path: string, options = {}) => front.sendAs('alice', path, options);
    await putManifest(ask, 'app', 'latest', { ...other, bytes: Buffer.from(other.bytes) });
    assert.deepEqual((await slow).body, Buffer.from(old.bytes));
    assert.deepEqual((await pull('app/manifests/latest')).body, other.bytes);
  });

  test('is served stale, and marked, while the upstream fails', async (t) => {
    const { registry, front, pull, clock } = await open(t);
    const root = registry.putImage('team/app', 'latest', image);
    await pull('app/manifests/latest');
    await pull(`app/blobs/${blob.digest}`);
    clock.advance(2 * 86_400_000);
    for (const [effect, reason] of [
      [{ answer: { status: 503 } }, 'unavailable'],
      [{ answer: { status: 429 } }, 'toomanyrequests'],
      [{ answer: { status: 500 } }, 'unavailable'],
      [{ reset: true }, 'unavailable'],
    ] as const) {
      registry.faults.clear();
      registry.faults.add({}, effect);
      for (const path of [
        'app/manifests/latest',
        `app/manifests/${root.digest}`,
        `app/blobs/${blob.digest}`,
      ]) {
        const answer = await pull(path);
        assert.equal(answer.status, 200, `${path} ${answer.text}`);
        assert.equal(status(answer), `hit; ttl=-1; detail=stale-${reason}`);
      }
      assert.equal((await pull('app/manifests/other')).status >= 429, true, 'what is not here is an error');
    }
    const stale = 'registry_proxy_cache_requests_total{upstream="hub",kind="tag",result="stale"}';
    assert.equal(await front.metric(stale), 4);
    registry.faults.clear();
    assert.equal(status(await pull('app/manifests/latest')), 'hit; detail=revalidated');
  });

  test('that is gone is not served stale, and is forgotten', async (t) => {
    const { registry, pull } = await open(t, { cache: hub(', missFreshness: 0s') });
    registry.putImage('team/app', 'latest', image);
    await pull('app/manifests/latest');
    registry.faults.add({ path: '/manifests/latest' }, { answer: { status: 404 } });
    assertError(await pull('app/manifests/latest'), 404, 'MANIFEST_UNKNOWN');
    registry.faults.clear();
    registry.faults.add({ path: '/manifests/latest' }, { answer: { status: 503 } });
    assertError(await pull('app/manifests/latest'), 503, 'UNAVAILABLE');
  });

  test('that is not there is not asked for again for seconds', async (t) => {
    const { registry, pull, asked, clock } = await open(t);
    registry.putImage('team/app', 'latest', image);
    const missing = `app/blobs/sha256:${'0'.repeat(64)}`;
    for (const path of ['app/manifests/none', missing]) {
      for (let i = 0; i < 3; i++) assert.equal((await pull(path)).status, 404);
      assert.equal((await pull(path, {}, 'HEAD')).status, 404);
    }
    clock.advance(6_000);
    for (const path of ['app/manifests/none', missing]) assert.equal((await pull(path)).status, 404);
    assert.deepEqual(asked('/manifests/none'), ['GET', 'GET']);
    assert.deepEqual(asked('/blobs/'), ['GET', 'GET']);
  });
});

describe('one download for all', () => {
  test('many clients at once: each manifest and blob is fetched once', async (t) => {
    const { registry, pull, asked } = await open(t);
    const large = await generatedBlob(3_000_000, 1);
    registry.putBlob('team/app', large);
    const root = registry.putImage('team/app', 'latest', image);
    const herd = Array.from({ length: 40 }, async () => {
      const manifest = await pull('app/manifests/latest');
      assert.deepEqual(manifest.body, root.bytes);
      const answer = await pull(`app/blobs/${large.digest}`);
      assert.ok(answer.whole && answer.body.equals(bytesOf(large)), 'other bytes');
    });
    await Promise.all(herd);
    assert.equal(asked('/manifests/').filter((method) => method === 'GET').length, 1);
    assert.deepEqual(asked('/blobs/'), ['GET']);
  });

  test('that is cut goes on where it was, and nobody notices', async (t) => {
    const { registry, front, pull } = await open(t);
    const large = await generatedBlob(3_000_000, 2);
    registry.putBlob('team/app', large);
    registry.faults.add({ method: 'GET', path: '/blobs/' }, { cutAfter: 1_000_000 }, 2);
    const answers = await Promise.all([1, 2, 3].map(() => pull(`app/blobs/${large.digest}`)));
    for (const answer of answers)
      assert.ok(answer.whole && answer.body.equals(bytesOf(large)), 'other bytes');
    const ranges = registry.requests
      .filter(({ path }) => path.includes('/blobs/'))
      .map(({ headers }) => headers.range);
    assert.equal(ranges.length, 3);
    assert.equal(ranges[0], undefined);
    for (const range of ranges.slice(1)) assert.match(String(range), /^bytes=\d+-2999999$/);
    assert.equal(await front.metric('registry_proxy_cache_downloads_resumed_total{upstream="hub"}'), 2);
    assert.equal(status(await pull(`app/blobs/${large.digest}`)), 'hit');
  });

  test('goes on also where the upstream ignores the range', async (t) => {
    const { registry, pull } = await open(t);
    const large = await generatedBlob(1_000_000, 3);
    registry.putBlob('team/app', large);
    const path = '/blobs/';
    registry.faults.add({ method: 'GET', path }, { cutAfter: 500_000 }, 1);
    const headers = { 'content-type': 'application/octet-stream' };
    registry.faults.add(
      { method: 'GET', path },
      { answer: { status: 200, headers, body: bytesOf(large) } },
      1,
    );
    const answer = await pull(`app/blobs/${large.digest}`);
    assert.ok(answer.whole && answer.body.equals(bytesOf(large)), 'other bytes');
  });

  test('of wrong bytes: nobody gets the end of it, nothing is kept', async (t) => {
    const { registry, front, pull } = await open(t);
    for (const [size, corruptAt] of [
      [1_000_000, 10],
      [1_000_000, 999_999],
      [1000, 500],
    ] as const) {
      const bad = await generatedBlob(size, 4 + corruptAt);
      registry.putBlob('team/app', bad);
      registry.faults.add({ method: 'GET', path: bad.digest }, { corruptAt }, 1);
      // Of a small one not even the head has left.
      const nothing = { whole: false, body: Buffer.alloc(0) };
      const answers = await Promise.all(
        [1, 2].map(() => pull(`app/blobs/${bad.digest}`).catch(() => nothing)),
      );
      for (const answer of answers) {
        assert.equal(answer.whole, false, 'a wrong blob looks whole');
        assert.ok(answer.body.length <= size - Math.min(size, 65_536), 'more than may be known');
      }
      const again = await pull(`app/blobs/${bad.digest}`);
      assert.ok(again.whole && again.body.equals(bytesOf(bad)), 'it is not fetched again');
      assert.equal(status(again), 'fwd=miss');
    }
    await front.logLine((line) => String(line.message).includes('came to no end'));
  });

  test('ends when all its clients are gone, and not before', async (t) => {
    const { registry, front, pull } = await open(t);
    const large = await generatedBlob(2_000_000, 5);
    registry.putBlob('team/app', large);
    registry.faults.add({ method: 'GET', path: '/blobs/' }, { stallAfter: 500_000 }, 1);
    const leaving = new AbortController();
    const path = `/v2/app/blobs/${large.digest}`;
    const gone = [1, 2].map(() =>
      front.sendAs('alice', path, { signal: leaving.signal }).then(
        ({ whole }) => whole,
        () => false,
      ),
    );
    const request = await registry.waitFor(({ path: asked }) => asked.includes('/blobs/'));
    await sleep(100);
    leaving.abort();
    assert.deepEqual(await Promise.all(gone), [false, false]);
    await request.settled;
    assert.ok(request.closedEarly, 'the upstream’s connection was not cut');
    const answer = await pull(`app/blobs/${large.digest}`);
    assert.ok(answer.whole && answer.body.equals(bytesOf(large)), 'other bytes');
    assert.deepEqual(readdirSync(join(front.directory, 'cache/incoming')), []);
  });

  test('a blob without a length, or too large for the cache, is passed on', async (t) => {
    const { registry, pull, asked } = await open(t, { cache: 'cache: { path: cache, maxSize: 100kB }' });
    const large = await generatedBlob(200_000, 6);
    const endless = await generatedBlob(50_000, 7);
    for (const one of [large, endless]) registry.putBlob('team/app', one);
    registry.faults.add({ path: endless.digest }, { framing: 'chunked' });
    for (const one of [large, endless]) {
      for (let i = 0; i < 2; i++) {
        const answer = await pull(`app/blobs/${one.digest}`);
        assert.ok(answer.whole && answer.body.equals(bytesOf(one)), 'other bytes');
        assert.equal(status(answer), 'fwd=bypass');
      }
      // One that is not plain is asked for again by the client that knows all of HTTP, and by that alone from then on.
      assert.deepEqual(asked(one.digest), one === large ? ['GET', 'GET'] : ['GET', 'GET', 'GET']);
      const both = await Promise.all([1, 2].map(() => pull(`app/blobs/${one.digest}`)));
      for (const { whole, body } of both) assert.ok(whole && body.equals(bytesOf(one)), 'other bytes');
    }
  });
});

describe('a cache on a bad day', () => {
  test('what was damaged on disk is fetched anew after a restart', async (t) => {
    const { registry, front, pull } = await open(t);
    const large = await generatedBlob(500_000, 8);
    registry.putBlob('team/app', large);
    await pull(`app/blobs/${large.digest}`);
    const hex = large.digest.slice('sha256:'.length);
    const file = join(front.directory, 'cache/blobs/sha256', hex.slice(0, 2), hex);
    const bytes = readFileSync(file);
    bytes.writeUInt8(bytes.readUInt8(250_000) ^ 4, 250_000);
    writeFileSync(file, bytes);
    const again = await startFront(
      t,
      `
upstreams:
  hub: { url: "${registry.url}", cache: { path: "${front.directory}/cache", maxSize: 100MB } }
routes:
  - { prefix: "", upstream: hub, rewrite: team/ }
`,
    );
    const answer = await again.sendAs('alice', `/v2/app/blobs/${large.digest}`);
    assert.ok(answer.whole && answer.body.equals(bytesOf(large)), 'wrong bytes');
    assert.equal(status(answer), 'fwd=miss');
    assert.equal(await again.metric('registry_proxy_cache_damaged_total'), 1);
  });
});
