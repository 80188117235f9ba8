import type { ImageReference } from '../reference/image-reference.js';
import type { CallOptions, Closable } from './call-options.js';
import type { Credential } from './credential-source.js';

/** An image in a container runtime (CRI `runtime.v1.Image`). */
export interface RuntimeImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** Bytes, more than 0. */
  readonly size: number;
  readonly user?: { readonly uid: number } | { readonly username: string };
  readonly pinned: boolean;
}

/** CRI `runtime.v1.FilesystemUsage`. */
export interface FilesystemUsage {
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  /** A path of the host. */
  readonly mountpoint: string;
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

/** A container runtime's image store on a node. */
export interface Runtime extends Closable {
  /**
   * @returns the image's id
   * @throws RegistryError NAME_UNKNOWN, MANIFEST_UNKNOWN, UNAUTHORIZED or UNAVAILABLE of the registry
   */
  pull(image: ImageReference, o: CallOptions & { readonly credential?: Credential }): Promise<string>;
  /** @param image a reference, a digest or an id. @returns undefined where it is not there */
  status(image: string, o: CallOptions): Promise<RuntimeImage | undefined>;
  list(o: CallOptions & { readonly image?: string }): Promise<readonly RuntimeImage[]>;
  /** Removes the image with all its tags; what is not there is fine. */
  remove(image: string, o: CallOptions): Promise<void>;
  fsInfo(o: CallOptions): Promise<readonly FilesystemUsage[]>;
}
