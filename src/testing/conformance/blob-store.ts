import assert from 'node:assert/strict';
import type { BlobStore, BlobWriter, StoredBlob, UpstreamRepository } from '../../contracts/blob-store.js';
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
}

const o = options();
const hello = Buffer.from('hello world');
const digest = digestOf(hello);
const repository = repositoryOf('first', 'registry.example.com/my/app');
const other = repositoryOf('first', 'registry.example.com/my/other');
const elsewhere = repositoryOf('first', 'elsewhere.example.com/my/app');
const withOtherCredentials = repositoryOf('second', 'registry.example.com/my/app');

function repositoryOf(upstream: string, text: string): UpstreamRepository {
  return { upstream, ...parseImageReference(text).repository };
}

/** What every BlobStore promises. */
export function describeBlobStoreConformance(name: string, make: MakeSubject<BlobStoreSubject>): void {
  suite(
    `BlobStore conformance: ${name}`,
    closing(make, ({ store }) => store),
    { ...blobs, ...writers, ...links },
  );
}

async function put(store: BlobStore, bytes: Buffer, as: Digest = digestOf(bytes)): Promise<void> {
  const writer = await writerOf(store, as);
  await writer.write(bytes);
  await writer.commit();
  await writer.close();
}

async function writerOf(store: BlobStore, as: Digest): Promise<BlobWriter> {
  const writer = await store.create(as, 4_000_000, o);
  assert.ok(writer, 'there is no room');
  return writer;
}

async function bytesIn(blob: Pick<StoredBlob, 'read'>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let position = 0; ; ) {
    const piece = Buffer.alloc(100_000);
    const count = await blob.read(piece, position);
    if (count === 0) return Buffer.concat(pieces);
    pieces.push(piece.subarray(0, count));
    position += count;
  }
}

async function textOf(store: BlobStore, of: Digest): Promise<string> {
  const blob = await store.open(of, o);
  assert.ok(blob, 'the blob is absent');
  const text = String(await bytesIn(blob));
  await blob.close();
  return text;
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
    for (const [position, length, text] of [
      [0, 11, 'hello world'],
      [0, 5, 'hello'],
      [6, 5, 'world'],
      [4, 1, 'o'],
      [6, 20, 'world'],
      [11, 4, ''],
      [0, 11, 'hello world'],
    ] as const) {
      const into = Buffer.alloc(length);
      const count = await blob.read(into, position);
      assert.equal(String(into.subarray(0, count)), text, `${length} bytes at ${position}`);
    }
    await blob.close();
    await blob.close();
  },
  'blobs of no byte, of megabytes in odd pieces, and of sha512': async ({ store }) => {
    const big = await generatedBlob(3_000_001, 5);
    const writer = await writerOf(store, big.digest);
    for (const piece of big.read()) {
      for (let at = 0; at < piece.length; at += 40_001) await writer.write(piece.subarray(at, at + 40_001));
    }
    await writer.commit();
    await writer.close();
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
      assert.ok((await bytesIn(blob)).equals(bytes), 'other bytes');
      await blob.close();
    }
  },
};

const writers: Record<string, SubjectTest<BlobStoreSubject>> = {
  'a blob is not there before it is committed': async ({ store }) => {
    const writer = await writerOf(store, digest);
    await writer.write(hello);
    assert.equal(await store.open(digest, o), undefined);
    await writer.commit();
    assert.equal(await textOf(store, digest), 'hello world');
    await writer.close();
  },
  'what was written is read before and after it is committed': async ({ store }) => {
    const writer = await writerOf(store, digest);
    assert.equal(await writer.read(Buffer.alloc(5), 0), 0);
    await writer.write(hello.subarray(0, 5));
    assert.equal(String(await bytesIn(writer)), 'hello');
    await writer.write(hello.subarray(5));
    await writer.commit();
    assert.equal(String(await bytesIn(writer)), 'hello world');
    await writer.close();
  },
  'bytes that are not the digest’s are refused, and leave nothing': async ({ store }) => {
    for (const bytes of ['hello', 'hello world!', 'HELLO WORLD', '']) {
      const writer = await writerOf(store, digest);
      if (bytes !== '') await writer.write(Buffer.from(bytes));
      await rejectsWith(() => writer.commit(), 'DIGEST_INVALID');
      await writer.close();
      assert.equal(await store.open(digest, o), undefined);
    }
    await put(store, hello);
    assert.equal(await textOf(store, digest), 'hello world');
  },
  'a refused writer does not harm a blob that is there': async ({ store }) => {
    await put(store, hello);
    const writer = await writerOf(store, digest);
    await writer.write(Buffer.from('wrong'));
    await rejectsWith(() => writer.commit(), 'DIGEST_INVALID');
    await writer.close();
    assert.equal(await textOf(store, digest), 'hello world');
  },
  'a writer that is closed leaves nothing; after commit and twice it is harmless': async ({ store }) => {
    const writer = await writerOf(store, digest);
    await writer.write(hello);
    await writer.close();
    await writer.close();
    assert.equal(await store.open(digest, o), undefined);
    await put(store, hello);
    assert.equal(await textOf(store, digest), 'hello world');
  },
  'two may write the same blob at once': async ({ store }) => {
    const both = await Promise.all([writerOf(store, digest), writerOf(store, digest)]);
    for (const writer of both) await writer.write(hello.subarray(0, 5));
    for (const writer of both) await writer.write(hello.subarray(5));
    await Promise.all(both.map((writer) => writer.commit()));
    for (const writer of both) await writer.close();
    assert.equal(await textOf(store, digest), 'hello world');
  },
  'the caller may use a chunk again once it is written': async ({ store }) => {
    const chunk = Buffer.from('hello ');
    const writer = await writerOf(store, digest);
    await writer.write(chunk);
    chunk.write('world!');
    await writer.write(chunk.subarray(0, 5));
    await writer.commit();
    await writer.close();
    assert.equal(await textOf(store, digest), 'hello world');
  },
};

const content = { kind: 'content', digest } as const;
const tag = { kind: 'tag', tag: 'v1', variant: 'a' } as const;
const link = { digest, mediaType: 'application/json', checkedAt: 1_000 };

const links: Record<string, SubjectTest<BlobStoreSubject>> = {
  'a link belongs to one repository of one upstream': async ({ store }) => {
    for (const key of [content, tag]) {
      assert.equal(await store.linkOf(repository, key, o), undefined);
      await store.link(repository, key, link, { ...o, mark: store.mark(repository) });
      assert.deepEqual(await store.linkOf(repository, key, o), link);
      for (const not of [other, elsewhere, withOtherCredentials]) {
        assert.equal(await store.linkOf(not, key, o), undefined);
      }
    }
    for (const not of [
      { ...tag, tag: 'v2' },
      { ...tag, variant: 'b' },
    ]) {
      assert.equal(await store.linkOf(repository, not, o), undefined);
    }
  },
  'a later link takes the place of the earlier one': async ({ store }) => {
    for (const checkedAt of [1, 2]) {
      await store.link(repository, tag, { digest, checkedAt }, { ...o, mark: store.mark(repository) });
    }
    assert.deepEqual(await store.linkOf(repository, tag, o), { digest, checkedAt: 2 });
  },
  'a tag is unlinked with all variants, and content by itself': async ({ store }) => {
    const keys = [tag, { ...tag, variant: 'b' }, { ...tag, tag: 'v1.1' }, content] as const;
    for (const key of keys) await store.link(repository, key, link, { ...o, mark: store.mark(repository) });
    await store.unlink(repository, { kind: 'tag', tag: 'v1' }, o);
    const left = async () =>
      Promise.all(keys.map(async (key) => (await store.linkOf(repository, key, o)) !== undefined));
    assert.deepEqual(await left(), [false, false, true, true]);
    await store.unlink(repository, content, o);
    assert.deepEqual(await left(), [false, false, true, false]);
    await store.unlink(other, content, o);
  },
  'what was asked before a change is not recorded after it': async ({ store }) => {
    const mark = store.mark(repository);
    assert.equal(store.mark(repository), mark);
    await store.changed(repository);
    assert.notEqual(store.mark(repository), mark);
    await store.link(repository, tag, link, { ...o, mark });
    assert.equal(await store.linkOf(repository, tag, o), undefined);
    const later = store.mark(repository);
    await store.changed(repository);
    assert.notEqual(store.mark(repository), later);
  },
  'an aborted call rejects with the reason': async ({ store }) => {
    await rejectsWhenAborted((aborted) => store.open(digest, aborted));
    await rejectsWhenAborted((aborted) => store.create(digest, 1, aborted));
    await rejectsWhenAborted((aborted) => store.link(repository, tag, link, { ...aborted, mark: '' }));
    await rejectsWhenAborted((aborted) => store.linkOf(repository, tag, aborted));
    await rejectsWhenAborted((aborted) => store.unlink(repository, content, aborted));
  },
  'it can be closed twice': ({ store }) => closesTwice(store),
};
