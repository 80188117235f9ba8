import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { BlobStore, BlobWriter, StoredBlob } from '../contracts/blob-store.js';
import type { CallOptions } from '../contracts/call-options.js';
import type { Clock } from '../contracts/clock.js';
import { RegistryError } from '../errors.js';
import { type Digest, digestAlgorithm } from '../reference/digest.js';
import type { Repository } from '../reference/repository.js';
import { FakeClock } from './fake-clock.js';

/** Blobs in memory; they are verified as a real store verifies them. */
export class FakeBlobStore implements BlobStore {
  readonly clock: Clock;
  readonly #blobs = new Map<Digest, Buffer>();
  readonly #links = new Map<string, number>();
  closed = false;

  constructor(clock: Clock = new FakeClock()) {
    this.clock = clock;
  }

  async open(digest: Digest, o: CallOptions): Promise<StoredBlob | undefined> {
    o.signal.throwIfAborted();
    const bytes = this.#blobs.get(digest);
    if (!bytes) return undefined;
    return {
      size: bytes.length,
      read: (range) => Readable.from([range ? bytes.subarray(range.start, range.end + 1) : bytes]),
    };
  }

  async create(digest: Digest, o: CallOptions): Promise<BlobWriter> {
    o.signal.throwIfAborted();
    const hash = createHash(digestAlgorithm(digest));
    let pieces: Buffer[] = [];
    return {
      write: async (chunk) => {
        hash.update(chunk);
        pieces.push(Buffer.from(chunk));
      },
      commit: async () => {
        const right = digest.endsWith(`:${hash.digest('hex')}`);
        if (right) this.#blobs.set(digest, Buffer.concat(pieces));
        pieces = [];
        if (!right) throw new RegistryError('DIGEST_INVALID');
      },
      discard: async () => {
        pieces = [];
      },
    };
  }

  async link(
    repository: Repository,
    digest: Digest,
    o: CallOptions & { readonly ttl: number },
  ): Promise<void> {
    o.signal.throwIfAborted();
    this.#links.set(linkKey(repository, digest), this.clock.now() + o.ttl);
  }

  async isLinked(repository: Repository, digest: Digest, o: CallOptions): Promise<boolean> {
    o.signal.throwIfAborted();
    return (this.#links.get(linkKey(repository, digest)) ?? 0) > this.clock.now();
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

function linkKey({ registry, name }: Repository, digest: Digest): string {
  return `${registry}/${name}@${digest}`;
}
