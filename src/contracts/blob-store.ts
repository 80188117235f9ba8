import type { Digest } from '../reference/digest.js';
import type { Repository } from '../reference/repository.js';
import type { CallOptions, Closable } from './call-options.js';

/** A repository as one upstream of the configuration reaches it: with that upstream's credentials. */
export interface UpstreamRepository extends Repository {
  /** The upstream's name in the configuration. */
  readonly upstream: string;
}

/** What a link is found by within its repository. */
export type LinkKey =
  | { readonly kind: 'content'; readonly digest: Digest }
  /** `variant` is what the client accepts: a registry may answer one tag with several manifests. */
  | { readonly kind: 'tag'; readonly tag: string; readonly variant: string };

/** That a repository was seen to hold content. */
export interface Link {
  readonly digest: Digest;
  /** Of a manifest. */
  readonly mediaType?: string;
  /** When the upstream last said so, in milliseconds since the epoch. */
  readonly checkedAt: number;
}

export interface StoredBlob {
  /** Bytes. */
  readonly size: number;
  /** Fills `into` with what stands at `position`. @returns how many bytes there were; 0 at the end */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Lets the blob go, which is not evicted before. A second call does nothing. */
  close(): Promise<void>;
}

export interface BlobWriter {
  /** Waits while the store cannot take more. The caller may use the chunk again then. */
  write(chunk: Uint8Array): Promise<void>;
  /** As `StoredBlob.read`, of what was written so far: before `commit` nothing of it is verified. */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * Makes the blob visible.
   *
   * @throws RegistryError DIGEST_INVALID where the bytes are not the digest's; nothing is left then
   */
  commit(): Promise<void>;
  /** Ends reading, and leaves nothing of what was not committed. A second call does nothing. */
  close(): Promise<void>;
}

export interface BlobStoreStatus {
  readonly blobs: number;
  /** Of the blobs. */
  readonly bytes: number;
  /** Bytes that it may take. */
  readonly maxSize: number;
  readonly links: number;
  /** When the blob that was not used for longest was used, in milliseconds since the epoch. */
  readonly leastRecentUse?: number;
}

/**
 * Bytes kept once by digest, reached through links that belong to a repository of an upstream. Several processes may
 * share one.
 */
export interface BlobStore extends Closable {
  /** @returns undefined where it is not there whole and verified */
  open(digest: Digest, o: CallOptions): Promise<StoredBlob | undefined>;

  /** @param size bytes. @returns undefined where there is no room for it, and none can be made */
  create(digest: Digest, size: number, o: CallOptions): Promise<BlobWriter | undefined>;

  /**
   * Which change of a repository was the last one. Cheap enough to be asked with each request.
   *
   * @returns a text that is another one after each `changed`, by whichever process
   */
  mark(repository: UpstreamRepository): string;

  /** Told after a push or a deletion, before it is answered. Never rejects: it is logged. */
  changed(repository: UpstreamRepository): Promise<void>;

  /**
   * Records what an upstream has said.
   *
   * @param mark of before the upstream was asked: where it is another one now, nothing is recorded
   */
  link(
    repository: UpstreamRepository,
    key: LinkKey,
    link: Link,
    o: CallOptions & { readonly mark: string },
  ): Promise<void>;
  linkOf(repository: UpstreamRepository, key: LinkKey, o: CallOptions): Promise<Link | undefined>;
  /** Of a tag all variants. */
  unlink(
    repository: UpstreamRepository,
    key: Extract<LinkKey, { kind: 'content' }> | Omit<Extract<LinkKey, { kind: 'tag' }>, 'variant'>,
    o: CallOptions,
  ): Promise<void>;

  status(o: CallOptions): Promise<BlobStoreStatus>;
  /** Reads every blob again and removes those that are damaged. @returns how many were read, and the damaged ones */
  verify(o: CallOptions): Promise<{ readonly blobs: number; readonly damaged: readonly Digest[] }>;
  /**
   * Removes what nobody has used for a time, what is over `maxSize`, and what nothing leads to any more.
   *
   * @param unusedFor milliseconds; absent: only the others
   */
  prune(o: CallOptions & { readonly unusedFor?: number }): Promise<{
    readonly blobs: number;
    readonly bytes: number;
    readonly links: number;
  }>;
}
