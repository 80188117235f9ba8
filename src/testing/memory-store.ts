import { RegistryError } from '../errors.js';
import { type Digest, digestOf, isDigest } from '../reference/digest.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import { type BlobContent, contentOf } from './blob-content.js';
import { type Descriptor, parseManifest } from './manifest-document.js';

export interface StoredManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** A whole image: what `putImage` puts. The children and blobs of an index come before it. */
export interface ImageFiles {
  readonly blobs: readonly BlobContent[];
  readonly children: readonly StoredManifest[];
  readonly root: StoredManifest;
}

interface RepositoryContents {
  readonly blobs: Set<string>;
  readonly manifests: Map<string, StoredManifest>;
  readonly tags: Map<string, string>;
}

/** Repositories in memory; blobs are kept once, and belong to the repositories they were put into. */
export class MemoryStore {
  readonly #repositories = new Map<string, RepositoryContents>();
  readonly #blobs = new Map<string, BlobContent>();

  has(repository: string): boolean {
    return this.#repositories.has(repository);
  }

  repositories(): readonly string[] {
    return [...this.#repositories.keys()].sort();
  }

  putBlob(repository: string, content: BlobContent): void {
    this.#blobs.set(content.digest, content);
    this.#make(repository).blobs.add(content.digest);
  }

  /** @returns undefined where this repository has no such blob, even where another has */
  blob(repository: string, digest: string): BlobContent | undefined {
    return this.#repositories.get(repository)?.blobs.has(digest) ? this.#blobs.get(digest) : undefined;
  }

  /** Any repository's: what a storage service sees. */
  anyBlob(digest: string): BlobContent | undefined {
    return this.#blobs.get(digest);
  }

  deleteBlob(repository: string, digest: string): boolean {
    return this.#repositories.get(repository)?.blobs.delete(digest) ?? false;
  }

  /** @param reference a tag, or the digest of the bytes in any algorithm */
  putManifest(repository: string, reference: string, bytes: Uint8Array, mediaType: string): StoredManifest {
    const contents = this.#make(repository);
    const digest = isDigest(reference) ? reference : digestOf(bytes);
    const manifest: StoredManifest = { digest, mediaType, bytes: Buffer.from(bytes) };
    contents.manifests.set(digest, manifest);
    if (!isDigest(reference)) contents.tags.set(reference, digest);
    return manifest;
  }

  manifest(repository: string, reference: string): StoredManifest | undefined {
    const contents = this.#repositories.get(repository);
    return contents?.manifests.get(contents.tags.get(reference) ?? reference);
  }

  /** A digest takes the tags that point to it along; a tag goes alone. */
  deleteManifest(repository: string, reference: string): boolean {
    const contents = this.#repositories.get(repository);
    if (!contents) return false;
    if (!isDigest(reference)) return contents.tags.delete(reference);
    for (const [tag, digest] of contents.tags) if (digest === reference) contents.tags.delete(tag);
    return contents.manifests.delete(reference);
  }

  tags(repository: string): readonly string[] {
    return [...(this.#repositories.get(repository)?.tags.keys() ?? [])].sort();
  }

  /** OCI distribution-spec v1.1, "Listing Referrers". */
  referrers(repository: string, digest: string): readonly Descriptor[] {
    const manifests = [...(this.#repositories.get(repository)?.manifests.values() ?? [])];
    return manifests.flatMap((manifest) => {
      const document = parseManifest(manifest.bytes);
      if (document?.subject?.digest !== digest) return [];
      const artifactType = document.artifactType ?? document.config?.mediaType;
      return [
        {
          mediaType: manifest.mediaType,
          digest: manifest.digest,
          size: manifest.bytes.length,
          ...(artifactType !== undefined && { artifactType }),
          ...(document.annotations && { annotations: document.annotations }),
        },
      ];
    });
  }

  putImage(repository: string, tag: string, image: ImageFiles): StoredManifest {
    for (const blob of image.blobs) this.putBlob(repository, blob);
    for (const child of image.children) {
      this.putManifest(repository, child.digest, child.bytes, child.mediaType);
    }
    return this.putManifest(repository, tag, image.root.bytes, image.root.mediaType);
  }

  #make(repository: string): RepositoryContents {
    const known = this.#repositories.get(repository);
    if (known) return known;
    const made: RepositoryContents = { blobs: new Set(), manifests: new Map(), tags: new Map() };
    this.#repositories.set(parseRepositoryName(repository), made);
    return made;
  }
}

/** @throws RegistryError NAME_UNKNOWN */
export function requireRepository(store: MemoryStore, repository: string): void {
  if (!store.has(repository)) throw new RegistryError('NAME_UNKNOWN', { detail: { name: repository } });
}

/** A blob from bytes or a content made before. */
export function asContent(bytes: Uint8Array | BlobContent): BlobContent {
  return bytes instanceof Uint8Array ? contentOf(bytes) : bytes;
}
