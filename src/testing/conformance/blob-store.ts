import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import type { BlobStore } from '../../contracts/blob-store.js';
import { type Digest, digestOf } from '../../reference/digest.js';
import { parseImageReference } from '../../reference/image-reference.js';
import { bytesOf, generatedBlob } from '../blob-content.js';
import {
  closesTwice,
  closing,
  type MakeSubject,
  options,
  rejectsWhenAborted,
  rejectsWith,
  type SubjectTest,
  suite,
} from './suite.js';

export interface BlobStoreSubject {
  /** Empty. */
  readonly store: BlobStore;
  /** Lets so many milliseconds pass for the store. */
  advance(milliseconds: number): Promise<void> | void;
}

const o = options();
const hello = Buffer.from('hello world');
const digest = digestOf(hello);
const { repository } = parseImageReference('registry.example.com/my/app');
const other = parseImageReference('registry.example.com/my/other').repository;
const elsewhere = parseImageReference('elsewhere.example.com/my/app').repository;

/** What every BlobStore promises. */
export function describeBlobStoreConformance(name: string, make: MakeSubject<BlobStoreSubject>): void {
  suite(
    `BlobStore conformance: ${name}`,
    closing(make, ({ store }) => store),
    { ...blobs, ...writers, ...links },
  );
}

async function put(store: BlobStore, bytes: Buffer, as: Digest = digestOf(bytes)): Promise<void> {
  const writer = await store.create(as, o);
  await writer.write(bytes);
  await writer.commit();
}

const blobs: Record<string, SubjectTest<BlobStoreSubject>> = {
  'a blob that was never written is absent': async ({ store }) => {
    assert.equal(await store.open(digest, o), undefined);
  },
  'a committed blob is read whole and in parts, as often as wanted': async ({ store }) => {
    await put(store, hello);
    const blob = await store.open(digest, o);
    assert.ok(blob, 'the blob is absent');
    assert.equal(blob.size, hello.length);
    const cases: [{ start: number; end: number } | undefined, string][] = [
      [undefined, 'hello world'],
      [{ start: 0, end: 4 }, 'hello'],
      [{ start: 6, end: 10 }, 'world'],
      [{ start: 4, end: 4 }, 'o'],
      [undefined, 'hello world'],
    ];
    for (const [range, text] of cases) assert.equal(String(await buffer(blob.read(range))), text);
  },
  'blobs of no byte, of megabytes in odd pieces, and of sha512': async ({ store }) => {
    const big = await generatedBlob(3_000_001, 5);
    const writer = await store.create(big.digest, o);
    for (const piece of big.read()) {
      for (let at = 0; at < piece.length; at += 40_001) await writer.write(piece.subarray(at, at + 40_001));
    }
    await writer.commit();
    const empty = Buffer.alloc(0);
    await put(store, empty);
    const long = digestOf(hello, 'sha512');
    await put(store, hello, long);
    for (const [of, bytes] of [
      [big.digest, bytesOf(big)],
      [digestOf(empty), empty],
      [long, hello],
    ] as const) {
      const blob = await store.open(of, o);
      assert.ok(blob, 'the blob is absent');
      assert.equal(blob.size, bytes.length);
      assert.ok((await buffer(blob.read())).equals(bytes), 'other bytes');
    }
  },
  'a reader that goes away early does no harm': async ({ store }) => {
    await put(store, hello);
    (await store.open(digest, o))?.read().destroy();
    const again = await store.open(digest, o);
    assert.ok(again, 'the blob is absent');
    assert.equal(String(await buffer(again.read())), 'hello world');
  },
};

const writers: Record<string, SubjectTest<BlobStoreSubject>> = {
  'a blob is not there before it is committed': async ({ store }) => {
    const writer = await store.create(digest, o);
    await writer.write(hello);
    assert.equal(await store.open(digest, o), undefined);
    await writer.commit();
    assert.ok(await store.open(digest, o), 'the blob is absent');
  },
  'bytes that are not the digest’s are refused, and leave nothing': async ({ store }) => {
    for (const bytes of ['hello', 'hello world!', 'HELLO WORLD', '']) {
      const writer = await store.create(digest, o);
      if (bytes !== '') await writer.write(Buffer.from(bytes));
      await rejectsWith(() => writer.commit(), 'DIGEST_INVALID');
      assert.equal(await store.open(digest, o), undefined);
    }
    await put(store, hello);
    assert.ok(await store.open(digest, o), 'the blob is absent');
  },
  'a refused writer does not harm a blob that is there': async ({ store }) => {
    await put(store, hello);
    const writer = await store.create(digest, o);
    await writer.write(Buffer.from('wrong'));
    await rejectsWith(() => writer.commit(), 'DIGEST_INVALID');
    const blob = await store.open(digest, o);
    assert.ok(blob, 'the blob is absent');
    assert.equal(String(await buffer(blob.read())), 'hello world');
  },
  'a discarded blob leaves nothing; after commit and twice discarding is harmless': async ({ store }) => {
    const writer = await store.create(digest, o);
    await writer.write(hello);
    await writer.discard();
    await writer.discard();
    assert.equal(await store.open(digest, o), undefined);
    const second = await store.create(digest, o);
    await second.write(hello);
    await second.commit();
    await second.discard();
    assert.ok(await store.open(digest, o), 'the blob is absent');
  },
  'two may write the same blob at once': async ({ store }) => {
    const both = await Promise.all([store.create(digest, o), store.create(digest, o)]);
    for (const writer of both) await writer.write(hello.subarray(0, 5));
    for (const writer of both) await writer.write(hello.subarray(5));
    await Promise.all(both.map((writer) => writer.commit()));
    const blob = await store.open(digest, o);
    assert.ok(blob, 'the blob is absent');
    assert.equal(String(await buffer(blob.read())), 'hello world');
  },
  'the caller may use a chunk again once it is written': async ({ store }) => {
    const chunk = Buffer.from('hello ');
    const writer = await store.create(digest, o);
    await writer.write(chunk);
    chunk.write('world!');
    await writer.write(chunk.subarray(0, 5));
    await writer.commit();
    assert.ok(await store.open(digest, o), 'the blob is absent');
  },
};

const links: Record<string, SubjectTest<BlobStoreSubject>> = {
  'a link belongs to one repository of one registry, and to one blob': async ({ store }) => {
    await put(store, hello);
    assert.equal(await store.isLinked(repository, digest, o), false);
    await store.link(repository, digest, { ...o, ttl: 60_000 });
    assert.equal(await store.isLinked(repository, digest, o), true);
    for (const not of [other, elsewhere]) assert.equal(await store.isLinked(not, digest, o), false);
    assert.equal(await store.isLinked(repository, digestOf(Buffer.from('other')), o), false);
  },
  'a link expires, and can be made again': async ({ store, advance }) => {
    await put(store, hello);
    await store.link(repository, digest, { ...o, ttl: 200 });
    await advance(250);
    assert.equal(await store.isLinked(repository, digest, o), false);
    await store.link(repository, digest, { ...o, ttl: 60_000 });
    assert.equal(await store.isLinked(repository, digest, o), true);
  },
  'an aborted call rejects with the reason': async ({ store }) => {
    await rejectsWhenAborted((aborted) => store.open(digest, aborted));
    await rejectsWhenAborted((aborted) => store.create(digest, aborted));
    await rejectsWhenAborted((aborted) => store.link(repository, digest, { ...aborted, ttl: 1000 }));
    await rejectsWhenAborted((aborted) => store.isLinked(repository, digest, aborted));
  },
  'it can be closed twice': ({ store }) => closesTwice(store),
};
