import { createHash } from 'node:crypto';
import type {
  BlobStore,
  BlobStoreStatus,
  BlobWriter,
  Link,
  LinkKey,
  StoredBlob,
  UpstreamRepository,
} from '../contracts/blob-store.js';
import type { CallOptions } from '../contracts/call-options.js';
import { RegistryError } from '../errors.js';
import { type Digest, digestAlgorithm } from '../reference/digest.js';

/** Blobs in memory; they are verified as a real store verifies them. */
export class FakeBlobStore implements BlobStore {
  readonly #blobs = new Map<Digest, Buffer>();
  readonly #links = new Map<string, Link>();
  readonly #marks = new Map<string, number>();
  /** Bytes. */
  maxSize = Number.MAX_SAFE_INTEGER;
  closed = false;

  async open(digest: Digest, o: CallOptions): Promise<StoredBlob | undefined> {
    o.signal.throwIfAborted();
    const bytes = this.#blobs.get(digest);
    if (!bytes) return undefined;
    return { size: bytes.length, read: async (into, at) => copied(bytes, into, at), close: async () => {} };
  }

  async create(digest: Digest, size: number, o: CallOptions): Promise<BlobWriter | undefined> {
    o.signal.throwIfAborted();
    if (size > this.maxSize) return undefined;
    const hash = createHash(digestAlgorithm(digest));
    let bytes = Buffer.alloc(0);
    return {
      write: async (chunk) => {
        hash.update(chunk);
        bytes = Buffer.concat([bytes, chunk]);
      },
      read: async (into, at) => copied(bytes, into, at),
      commit: async () => {
        if (!digest.endsWith(`:${hash.digest('hex')}`)) throw new RegistryError('DIGEST_INVALID');
        this.#blobs.set(digest, bytes);
      },
      close: async () => {},
    };
  }

  mark(repository: UpstreamRepository): string {
    return String(this.#marks.get(textOf(repository)) ?? 0);
  }

  async changed(repository: UpstreamRepository): Promise<void> {
    this.#marks.set(textOf(repository), Number(this.mark(repository)) + 1);
  }

  async link(
    repository: UpstreamRepository,
    key: LinkKey,
    link: Link,
    o: CallOptions & { readonly mark: string },
  ): Promise<void> {
    o.signal.throwIfAborted();
    if (this.mark(repository) === o.mark) this.#links.set(linkText(repository, key), link);
  }

  async linkOf(repository: UpstreamRepository, key: LinkKey, o: CallOptions): Promise<Link | undefined> {
    o.signal.throwIfAborted();
    return this.#links.get(linkText(repository, key));
  }

  async unlink(
    repository: UpstreamRepository,
    key: Parameters<BlobStore['unlink']>[1],
    o: CallOptions,
  ): Promise<void> {
    o.signal.throwIfAborted();
    if (key.kind === 'content') this.#links.delete(linkText(repository, key));
    else {
      const start = linkText(repository, { ...key, variant: '' });
      for (const text of this.#links.keys()) if (text.startsWith(start)) this.#links.delete(text);
    }
  }

  async status(): Promise<BlobStoreStatus> {
    const bytes = [...this.#blobs.values()].reduce((sum, { length }) => sum + length, 0);
    return { blobs: this.#blobs.size, bytes, maxSize: this.maxSize, links: this.#links.size };
  }

  async verify(): Promise<{ readonly blobs: number; readonly damaged: readonly Digest[] }> {
    return { blobs: this.#blobs.size, damaged: [] };
  }

  async prune(): Promise<{ readonly blobs: number; readonly bytes: number; readonly links: number }> {
    return { blobs: 0, bytes: 0, links: 0 };
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

function copied(bytes: Buffer, into: Uint8Array, position: number): number {
  return bytes.copy(into, 0, position);
}

function textOf({ upstream, registry, name }: UpstreamRepository): string {
  return JSON.stringify([upstream, registry, name]);
}

function linkText(repository: UpstreamRepository, key: LinkKey): string {
  const within = key.kind === 'content' ? key.digest : `${key.tag} ${key.variant}`;
  return `${textOf(repository)}${within}`;
}
