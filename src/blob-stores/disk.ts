import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type {
  BlobStore,
  BlobStoreStatus,
  BlobWriter,
  CallOptions,
  Clock,
  Link,
  LinkKey,
  Log,
  Metrics,
  StoredBlob,
  UpstreamRepository,
} from '../contracts/index.js';
import { SingleFlight } from '../decorators/single-flight.js';
import { describeError, hasCode } from '../errors.js';
import { type Digest, digestAlgorithm, isComputable } from '../reference/digest.js';
import { byteSize } from '../settings/byte-size.js';
import { ownDirectory } from '../settings/file-path.js';
import { DiskLayout } from './disk-layout.js';
import { DiskLinks } from './disk-links.js';
import { DiskSpace, type FoundBlob, type Room } from './disk-space.js';
import { DiskWriter, isFull } from './disk-writer.js';

/** Milliseconds between two notes of one blob's use, and after a full disk before it is tried again. */
const noteUseEvery = 60_000;
const fullFor = 30_000;
/** Milliseconds that hashing one blob may take, and between two scrubs of all. */
const longestVerification = 600_000;
const scrubEvery = 86_400_000;
/** Bytes read at once for hashing, and milliseconds of rest after each of them while scrubbing. */
const verifyPiece = 1024 * 1024;
const scrubRest = 50;
/** Milliseconds for which a link that nobody renews is kept for the day its upstream is down. */
const keepLinks = 30 * 86_400_000;

interface DiskBlobStoreParts {
  readonly layout: DiskLayout;
  readonly maxSize: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What this process knows of a blob. */
interface Known {
  /** When its use was last noted. */
  usedAt: number;
}

/**
 * A directory of verified blobs. Each process verifies a blob before it first serves it, for the machine may have gone
 * down, or the disk flipped a bit, since it was written; a scrub once a day finds what is flipped later.
 */
export class DiskBlobStore implements BlobStore {
  readonly #layout: DiskLayout;
  readonly #links: DiskLinks;
  readonly #space: DiskSpace;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #metrics: ReturnType<typeof diskMetrics>;
  readonly #verified = new Map<Digest, Known>();
  readonly #verifications = new SingleFlight<boolean>(longestVerification);
  readonly #closing = new AbortController();
  readonly #follows: (() => void)[] = [];
  #fullUntil = Number.NEGATIVE_INFINITY;

  constructor({ layout, maxSize, clock, log, metrics }: DiskBlobStoreParts) {
    this.#layout = layout;
    this.#clock = clock;
    this.#log = log;
    this.#metrics = diskMetrics(metrics);
    this.#links = new DiskLinks(layout, log);
    const onEvict = ({ digest, size }: FoundBlob) => {
      this.#verified.delete(digest);
      this.#metrics.evicted.add({});
      this.#metrics.evictedBytes.add({}, size);
    };
    this.#space = new DiskSpace(layout, { maxSize, clock, onEvict });
    this.#follows.push(this.#metrics.size.follow({ path: layout.root }, () => this.#space.used));
  }

  async open(digest: Digest, o: CallOptions): Promise<StoredBlob | undefined> {
    o.signal.throwIfAborted();
    if (!isComputable(digest)) return undefined;
    const unpin = this.#space.pin(digest);
    const file = await this.#openFile(digest);
    if (file === undefined) {
      unpin();
      return undefined;
    }
    try {
      const { size } = await file.stat();
      if (!this.#verified.has(digest) && !(await this.#verifyOnce(digest, o))) {
        await letGo(file, unpin);
        return undefined;
      }
      this.#noteUse(digest);
      let isOpen = true;
      return {
        size,
        read: async (into, position) => (await file.read(into, 0, into.length, position)).bytesRead,
        close: async () => {
          if (!isOpen) return;
          isOpen = false;
          await letGo(file, unpin);
        },
      };
    } catch (error) {
      await letGo(file, unpin);
      if (o.signal.aborted) throw error;
      this.#failed('read', error);
      return undefined;
    }
  }

  async create(digest: Digest, size: number, o: CallOptions): Promise<BlobWriter | undefined> {
    o.signal.throwIfAborted();
    if (!isComputable(digest) || this.#clock.now() < this.#fullUntil) return undefined;
    let room: Room | undefined;
    try {
      room = await this.#space.reserve(size);
      if (room === undefined) return undefined;
      const { taken, giveBack } = room;
      const unpin = this.#space.pin(digest);
      const places = { digest, incoming: this.#layout.newIncoming(), final: this.#layout.blob(digest) };
      return await DiskWriter.open(places, {
        makeRoom: (missing) => this.#makeRoom(missing),
        committed: (bytes) => {
          taken(bytes);
          this.#verified.set(digest, { usedAt: this.#clock.now() });
        },
        closed: () => {
          giveBack();
          unpin();
        },
      });
    } catch (error) {
      room?.giveBack();
      this.#failed('write', error);
      return undefined;
    }
  }

  mark(repository: UpstreamRepository): string {
    return this.#links.mark(repository);
  }

  changed(repository: UpstreamRepository): Promise<void> {
    return this.#links.changed(repository);
  }

  async link(
    repository: UpstreamRepository,
    key: LinkKey,
    link: Link,
    { signal, mark }: CallOptions & { readonly mark: string },
  ): Promise<void> {
    signal.throwIfAborted();
    await this.#links
      .write(repository, key, link, mark)
      .catch((error: unknown) => this.#failed('write', error));
  }

  async linkOf(repository: UpstreamRepository, key: LinkKey, o: CallOptions): Promise<Link | undefined> {
    o.signal.throwIfAborted();
    try {
      return await this.#links.read(repository, key);
    } catch (error) {
      this.#failed('read', error);
      return undefined;
    }
  }

  async unlink(
    repository: UpstreamRepository,
    key: Parameters<BlobStore['unlink']>[1],
    o: CallOptions,
  ): Promise<void> {
    o.signal.throwIfAborted();
    await this.#links.remove(repository, key).catch((error: unknown) => this.#failed('write', error));
  }

  async status(o: CallOptions): Promise<BlobStoreStatus> {
    const blobs = await this.#space.look();
    let links = 0;
    for await (const _ of this.#links.all()) {
      o.signal.throwIfAborted();
      links += 1;
    }
    const oldest = blobs.reduce((least, { usedAt }) => Math.min(least, usedAt), Number.POSITIVE_INFINITY);
    return {
      blobs: blobs.length,
      bytes: this.#space.used,
      maxSize: this.#space.maxSize,
      links,
      ...(blobs.length > 0 && { leastRecentUse: oldest }),
    };
  }

  verify(o: CallOptions): Promise<{ readonly blobs: number; readonly damaged: readonly Digest[] }> {
    return this.#verifyAll(o, 0);
  }

  async prune({ signal, unusedFor }: CallOptions & { readonly unusedFor?: number }) {
    const removed = { blobs: 0, bytes: 0, links: 0 };
    await this.#space.removeAbandoned();
    const before = await this.#space.look();
    if (unusedFor !== undefined) {
      for (const blob of before) {
        signal.throwIfAborted();
        if (blob.usedAt < this.#clock.now() - unusedFor) await this.#space.remove(blob);
      }
    }
    await this.#space.shrink();
    const left = new Set((await this.#space.look()).map(({ digest }) => digest));
    for (const { digest, size } of before) {
      if (left.has(digest)) continue;
      removed.blobs += 1;
      removed.bytes += size;
    }
    for await (const { file, link } of this.#links.all()) {
      signal.throwIfAborted();
      const isOld = link !== undefined && link.checkedAt < this.#clock.now() - keepLinks;
      if (link !== undefined && !isOld && left.has(link.digest)) continue;
      await rm(file, { force: true });
      removed.links += 1;
    }
    return removed;
  }

  /** Cleans up now, and scrubs once a day: of all processes with this directory the one that comes to it first. */
  keepTidy(): void {
    const { signal } = this.#closing;
    const rounds = async () => {
      for (;;) {
        await this.#tidy().catch((error: unknown) => this.#failed('scrub', error));
        await sleep(scrubEvery / 24, undefined, { signal, ref: false });
      }
    };
    rounds().catch(() => {}); // closed
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('closed'));
    this.#verifications.close();
    for (const end of this.#follows.splice(0)) end();
  }

  async #tidy(): Promise<void> {
    const { signal } = this.#closing;
    await this.#space.removeAbandoned();
    await this.#space.shrink();
    const last = await stat(this.#layout.scrubbed).catch(() => undefined);
    if (last !== undefined && this.#clock.now() - last.mtimeMs < scrubEvery) return;
    await writeFile(this.#layout.scrubbed, '', { mode: 0o600 });
    if (last === undefined) return; // a new cache
    await this.#verifyAll({ signal }, scrubRest);
    await this.prune({ signal });
  }

  /** @param rest milliseconds after each piece */
  async #verifyAll({ signal }: CallOptions, rest: number) {
    const blobs = await this.#space.look();
    const damaged: Digest[] = [];
    for (const { digest } of blobs) {
      if (!(await this.#isWhole(digest, signal, rest))) damaged.push(digest);
    }
    return { blobs: blobs.length, damaged };
  }

  async #verifyOnce(digest: Digest, o: CallOptions): Promise<boolean> {
    return this.#verifications.run(digest, o, async (signal) => {
      if (!(await this.#isWhole(digest, signal, 0))) return false;
      this.#verified.set(digest, { usedAt: Number.NEGATIVE_INFINITY });
      return true;
    });
  }

  /** Removes it where it is not. */
  async #isWhole(digest: Digest, signal: AbortSignal, rest: number): Promise<boolean> {
    const file = await this.#openFile(digest);
    if (file === undefined) return true; // evicted since
    try {
      if ((await hashOf(file, digestAlgorithm(digest), signal, rest)) === digest) return true;
    } catch (error) {
      signal.throwIfAborted();
      this.#failed('read', error);
    } finally {
      await file.close();
    }
    this.#verified.delete(digest);
    this.#metrics.damaged.add({});
    this.#log.error({ digest, path: this.#layout.root }, 'cache: a blob is damaged on disk; it is removed');
    await rm(this.#layout.blob(digest), { force: true });
    return false;
  }

  async #openFile(digest: Digest): Promise<FileHandle | undefined> {
    try {
      return await open(this.#layout.blob(digest), 'r');
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) this.#failed('read', error);
      return undefined;
    }
  }

  #noteUse(digest: Digest): void {
    const known = this.#verified.get(digest);
    const now = this.#clock.now();
    if (known === undefined || now - known.usedAt < noteUseEvery) return;
    known.usedAt = now;
    utimes(this.#layout.blob(digest), now / 1000, now / 1000).catch(() => {}); // evicted, or a read-only disk
  }

  async #makeRoom(missing: number): Promise<void> {
    await this.#space.free(Math.max(missing, this.#space.maxSize * 0.05));
  }

  /** A cache that fails costs time, never an answer: it is counted and logged, and the upstream is asked. */
  #failed(what: 'read' | 'write' | 'scrub', error: unknown): void {
    this.#metrics.failures.add({ what });
    if (isFull(error)) this.#fullUntil = this.#clock.now() + fullFor;
    const reason = describeError(error);
    this.#log.error({ path: this.#layout.root, what, reason }, 'cache: its directory fails');
  }
}

async function letGo(file: FileHandle, unpin: () => void): Promise<void> {
  unpin();
  await file.close().catch(() => {});
}

async function hashOf(
  file: FileHandle,
  algorithm: string,
  signal: AbortSignal,
  rest: number,
): Promise<string> {
  const hash = createHash(algorithm);
  const buffer = Buffer.allocUnsafe(verifyPiece);
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return `${algorithm}:${hash.digest('hex')}`;
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
    if (rest > 0) await sleep(rest, undefined, { signal, ref: false });
  }
}

function diskMetrics(metrics: Metrics) {
  const failures = metrics.counter('cache_store_failures_total', 'Reads and writes of a cache that failed', [
    'what',
  ]);
  for (const what of ['read', 'write', 'scrub']) failures.add({ what }, 0);
  const damaged = metrics.counter('cache_damaged_total', 'Blobs of a cache that were damaged on disk');
  const evicted = metrics.counter('cache_evicted_total', 'Blobs that had to make room in a cache');
  for (const one of [damaged, evicted]) one.add({}, 0);
  return {
    failures,
    damaged,
    evicted,
    evictedBytes: metrics.counter(
      'cache_evicted_bytes_total',
      'Bytes of blobs that had to make room in a cache',
    ),
    size: metrics.gauge('cache_bytes', 'Bytes of the blobs in a cache', ['path'], 'max'),
  };
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'blob-store',
  type: 'disk',
  config: z.strictObject({
    path: ownDirectory().describe(
      'Directory for the cache, created with mode 0700. Several upstreams, workers and replicas may share one.',
    ),
    maxSize: byteSize().describe(
      'Of all blobs in it, such as 50GB. What was not used for longest makes room; a blob that is larger is not cached.',
    ),
  }),
  async open({ path, maxSize }, { access, baseDirectory, clock, log, metrics }) {
    const layout = new DiskLayout(resolve(baseDirectory, path.text));
    const { blobs, incoming, links, marks } = layout;
    if (access === 'owner') {
      await mkdir(layout.root, { recursive: true, mode: 0o700 });
      // Whoever writes a link there says who may read what.
      if (((await stat(layout.root)).mode & 0o002) !== 0) {
        throw new Error(
          `everybody may write in ${layout.root}: take that right away, or name another directory`,
        );
      }
      for (const one of [blobs, incoming, links, marks]) await mkdir(one, { recursive: true, mode: 0o700 });
    }
    const store = new DiskBlobStore({ layout, maxSize, clock, log, metrics });
    if (access === 'owner') store.keepTidy();
    return store;
  },
});
