import type { Readable } from 'node:stream';
import type { Digest } from '../reference/digest.js';
import type { Repository } from '../reference/repository.js';
import type { CallOptions, Closable } from './call-options.js';

export interface StoredBlob {
  /** Bytes. */
  readonly size: number;
  /** Opens the bytes from `start` to `end`, both included; the whole without them. */
  read(range?: { readonly start: number; readonly end: number }): Readable;
}

export interface BlobWriter {
  /** Waits while the store cannot take more. */
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Makes the blob visible.
   *
   * @throws RegistryError DIGEST_INVALID where the bytes are not the digest's; nothing is left then
   */
  commit(): Promise<void>;
  /** Leaves nothing. Harmless after `commit`. */
  discard(): Promise<void>;
}

/** Bytes kept once by digest, reached through links that belong to a repository and expire. */
export interface BlobStore extends Closable {
  /** @returns undefined where it is not there whole and verified */
  open(digest: Digest, o: CallOptions): Promise<StoredBlob | undefined>;
  create(digest: Digest, o: CallOptions): Promise<BlobWriter>;
  /** Records that this repository of an upstream was seen to hold the blob. @param ttl milliseconds */
  link(repository: Repository, digest: Digest, o: CallOptions & { readonly ttl: number }): Promise<void>;
  isLinked(repository: Repository, digest: Digest, o: CallOptions): Promise<boolean>;
}
