import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { BlobStore } from '../contracts/index.js';
import { type Digest, digestOf } from '../reference/digest.js';
import { parseImageReference } from '../reference/image-reference.js';
import { describeBlobStoreConformance } from '../testing/conformance/blob-store.js';
import { FakeClock } from '../testing/fake-clock.js';
import { FakeLog } from '../testing/fake-log.js';
import { FakeMetrics } from '../testing/fake-metrics.js';
import { driver } from './disk.js';

/** Bytes like no others. */
function noise(size: number, seed: number): Buffer {
  return Buffer.concat(
    Array.from({ length: Math.ceil(size / 32) }, (_, i) =>
      createHash('sha256').update(`${seed} ${i}`).digest(),
    ),
  ).subarray(0, size);
}

const o = { signal: new AbortController().signal };
const repository = { upstream: 'hub', ...parseImageReference('registry.example.com/my/app').repository };

interface Opened {
  readonly store: BlobStore;
  readonly log: FakeLog;
  readonly metrics: FakeMetrics;
}

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'cache-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function open(
  t: TestContext,
  baseDirectory: string,
  { maxSize = '1GB', clock = new FakeClock(Date.now()) } = {},
): Promise<Opened> {
  const log = new FakeLog();
  const metrics = new FakeMetrics();
  const settings = driver.config.parse({ path: 'cache', maxSize });
  const store = await driver.open(settings, {
    ...{ id: 'cache', baseDirectory, clock, log, metrics, access: 'owner' },
  });
  t.after(() => store.close());
  return { store, log, metrics };
}

async function put(store: BlobStore, bytes: Buffer): Promise<Digest> {
  const digest = digestOf(bytes);
  const writer = await store.create(digest, bytes.length, o);
  assert.ok(writer, 'there is no room');
  await writer.write(bytes);
  await writer.commit();
  await writer.close();
  return digest;
}

async function isThere(store: BlobStore, digest: Digest): Promise<boolean> {
  const blob = await store.open(digest, o);
  await blob?.close();
  return blob !== undefined;
}

function fileOf(directory: string, digest: Digest): string {
  const hex = digest.slice('sha256:'.length);
  return join(directory, 'cache/blobs/sha256', hex.slice(0, 2), hex);
}

function used(directory: string, digest: Digest, minutesAgo: number): void {
  const at = Date.now() / 1000 - minutesAgo * 60;
  utimesSync(fileOf(directory, digest), at, at);
}

describeBlobStoreConformance('disk', async (t) => ({ store: (await open(t, directoryOf(t))).store }));

describe('a cache on disk', () => {
  it('serves after a restart what it held before', async (t) => {
    const directory = directoryOf(t);
    const { store } = await open(t, directory);
    const digest = await put(store, noise(100_000, 1));
    await store.link(
      repository,
      { kind: 'content', digest },
      { digest, checkedAt: 5 },
      { ...o, mark: store.mark(repository) },
    );
    await store.close();
    const { store: again } = await open(t, directory);
    assert.ok(await isThere(again, digest), 'the blob is gone');
    assert.deepEqual(await again.linkOf(repository, { kind: 'content', digest }, o), {
      digest,
      checkedAt: 5,
    });
  });

  it('does not serve after a restart what was damaged on disk, and removes it', async (t) => {
    for (const damage of [
      (bytes: Buffer) => void bytes.writeUInt8(bytes.readUInt8(50_000) ^ 1, 50_000),
      (bytes: Buffer) => bytes.subarray(0, 99_999),
      (bytes: Buffer) => Buffer.concat([bytes, Buffer.from('x')]),
      () => Buffer.alloc(0),
    ]) {
      const directory = directoryOf(t);
      const { store } = await open(t, directory);
      const digest = await put(store, noise(100_000, 2));
      await store.close();
      const bytes = readFileSync(fileOf(directory, digest));
      writeFileSync(fileOf(directory, digest), damage(bytes) ?? bytes);
      const { store: again, metrics, log } = await open(t, directory);
      assert.equal(await isThere(again, digest), false);
      assert.throws(() => readFileSync(fileOf(directory, digest)), { code: 'ENOENT' });
      assert.equal(metrics.value('cache_damaged_total'), 1);
      assert.ok(
        log.entries.some(({ level }) => level === 'error'),
        'nothing was logged',
      );
      await put(again, noise(100_000, 2));
      assert.ok(await isThere(again, digest), 'it cannot be cached again');
    }
  });

  it('finds by verify what was damaged after it was first read', async (t) => {
    const directory = directoryOf(t);
    const { store } = await open(t, directory);
    const good = await put(store, noise(3_000_000, 3));
    const bad = await put(store, noise(3_000_000, 4));
    const bytes = readFileSync(fileOf(directory, bad));
    bytes.writeUInt8(bytes.readUInt8(7) ^ 128, 7);
    writeFileSync(fileOf(directory, bad), bytes);
    assert.deepEqual(await store.verify(o), { blobs: 2, damaged: [bad] });
    assert.equal(await isThere(store, bad), false);
    assert.ok(await isThere(store, good), 'the good one is gone');
  });

  it('ignores what a crash left in the middle of writing, and removes it when it is old', async (t) => {
    const directory = directoryOf(t);
    const { store } = await open(t, directory);
    const digest = digestOf(noise(1000, 5));
    const writer = await store.create(digest, 1000, o);
    assert.ok(writer, 'there is no room');
    await writer.write(noise(1000, 5).subarray(0, 500));
    const incoming = join(directory, 'cache/incoming');
    const [left] = readdirSync(incoming);
    assert.ok(left, 'nothing is being written');
    const { store: other } = await open(t, directory);
    assert.equal(await isThere(other, digest), false);
    await other.prune(o);
    assert.deepEqual(readdirSync(incoming), [left], 'what is being written was removed');
    utimesSync(join(incoming, left), 1, 1);
    await other.prune(o);
    assert.deepEqual(readdirSync(incoming), []);
  });

  it('evicts what was not used for longest, and never what is being read', async (t) => {
    const directory = directoryOf(t);
    const { store, metrics } = await open(t, directory, { maxSize: '100kB' });
    const [a, b, c] = [
      await put(store, noise(30_000, 6)),
      await put(store, noise(30_000, 7)),
      await put(store, noise(30_000, 8)),
    ];
    used(directory, a, 30);
    used(directory, b, 20);
    used(directory, c, 10);
    const reading = await store.open(a, o);
    assert.ok(reading, 'the blob is absent');
    used(directory, a, 30);
    const d = await put(store, noise(30_000, 9));
    assert.deepEqual(await Promise.all([a, b, c, d].map((one) => isThere(store, one))), [
      true,
      false,
      true,
      true,
    ]);
    assert.equal(metrics.value('cache_evicted_total'), 1);
    const into = Buffer.alloc(30_000);
    assert.equal(await reading.read(into, 0), 30_000);
    assert.equal(digestOf(into), a);
    await reading.close();
  });

  it('takes nothing that does not fit, and nothing while all is being read', async (t) => {
    const { store } = await open(t, directoryOf(t), { maxSize: '100kB' });
    assert.equal(await store.create(digestOf(Buffer.alloc(1)), 100_001, o), undefined);
    const digest = await put(store, noise(90_000, 10));
    const reading = await store.open(digest, o);
    assert.equal(await store.create(digestOf(noise(20_000, 11)), 20_000, o), undefined);
    await reading?.close();
    await put(store, noise(20_000, 11));
    assert.equal(await isThere(store, digest), false);
  });

  it('counts what is being written as taken', async (t) => {
    const { store } = await open(t, directoryOf(t), { maxSize: '100kB' });
    const first = await store.create(digestOf(noise(60_000, 12)), 60_000, o);
    assert.ok(first, 'there is no room');
    assert.equal(await store.create(digestOf(noise(60_000, 13)), 60_000, o), undefined);
    await first.close();
    await put(store, noise(60_000, 13));
  });

  it('shares its directory: blobs, links and changes of one are seen by the other', async (t) => {
    const directory = directoryOf(t);
    const { store: one } = await open(t, directory);
    const { store: other } = await open(t, directory);
    const digest = await put(one, noise(1000, 14));
    assert.ok(await isThere(other, digest), 'the blob is not seen');
    const key = { kind: 'tag', tag: 'latest', variant: '' } as const;
    const mark = other.mark(repository);
    await one.link(repository, key, { digest, checkedAt: 1 }, { ...o, mark: one.mark(repository) });
    assert.deepEqual(await other.linkOf(repository, key, o), { digest, checkedAt: 1 });
    await one.changed(repository);
    assert.notEqual(other.mark(repository), mark);
    await other.link(repository, key, { digest, checkedAt: 2 }, { ...o, mark });
    assert.deepEqual(await one.linkOf(repository, key, o), { digest, checkedAt: 1 });
  });

  it('takes half a link for none', async (t) => {
    const directory = directoryOf(t);
    const { store } = await open(t, directory);
    const key = { kind: 'tag', tag: 'latest', variant: '' } as const;
    const digest = digestOf(Buffer.from('x'));
    await store.link(repository, key, { digest, checkedAt: 1 }, { ...o, mark: '' });
    const links = join(directory, 'cache/links');
    const file = readdirSync(links, { recursive: true })
      .map((name) => join(links, String(name)))
      .find((name) => name.includes('/tag-'));
    assert.ok(file, 'there is no file');
    for (const text of ['', '{', '{"digest":"sha256:1","checkedAt":1}', '{"checkedAt":1}', 'null']) {
      writeFileSync(file, text);
      assert.equal(await store.linkOf(repository, key, o), undefined, text);
    }
  });

  it('prunes what nobody has used, and links to nothing', async (t) => {
    const directory = directoryOf(t);
    const { store } = await open(t, directory);
    const [old, recent] = [await put(store, noise(1000, 15)), await put(store, noise(2000, 16))];
    used(directory, old, 120);
    for (const digest of [old, recent]) {
      const link = { digest, checkedAt: Date.now() };
      await store.link(repository, { kind: 'content', digest }, link, { ...o, mark: '' });
    }
    assert.deepEqual(await store.prune({ ...o, unusedFor: 3_600_000 }), { blobs: 1, bytes: 1000, links: 1 });
    const { blobs, bytes, links } = await store.status(o);
    assert.deepEqual({ blobs, bytes, links }, { blobs: 1, bytes: 2000, links: 1 });
  });

  it('does not open a directory that everybody may write', async (t) => {
    const directory = directoryOf(t);
    mkdirSync(join(directory, 'cache'));
    chmodSync(join(directory, 'cache'), 0o777);
    await assert.rejects(() => open(t, directory), /everybody may write in/);
    chmodSync(join(directory, 'cache'), 0o755);
    await open(t, directory);
  });

  it('goes on without a cache where its directory fails', async (t) => {
    const directory = directoryOf(t);
    const { store, metrics } = await open(t, directory);
    const digest = await put(store, noise(1000, 17));
    rmSync(join(directory, 'cache'), { recursive: true });
    assert.equal(await isThere(store, digest), false);
    assert.equal(await store.create(digest, 1000, o), undefined);
    await store.link(repository, { kind: 'content', digest }, { digest, checkedAt: 1 }, { ...o, mark: '' });
    await store.changed(repository);
    assert.equal(await store.linkOf(repository, { kind: 'content', digest }, o), undefined);
    assert.equal(metrics.value('cache_store_failures_total', { what: 'write' }), 2);
    mkdirSync(join(directory, 'cache'));
  });
});
