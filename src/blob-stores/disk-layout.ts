import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { LinkKey, UpstreamRepository } from '../contracts/index.js';
import { type Digest, digestAlgorithm, isComputable, isDigest } from '../reference/digest.js';

/**
 * Where everything stands in a cache's directory:
 *
 *     blobs/sha256/ab/abcd…         whole and verified; its time of change is that of its last use
 *     incoming/PID-RANDOM           being written
 *     links/ab/HASH/repository      the names that HASH stands for
 *     links/ab/HASH/content-DIGEST, links/ab/HASH/tag-HASH-HASH
 *     marks/ab                      grows by a byte with each push and deletion
 *     scrubbed                      its time of change is that of the last scrub
 */
export class DiskLayout {
  readonly root: string;
  readonly blobs: string;
  readonly incoming: string;
  readonly links: string;
  readonly marks: string;
  readonly scrubbed: string;

  constructor(root: string) {
    this.root = root;
    this.blobs = join(root, 'blobs');
    this.incoming = join(root, 'incoming');
    this.links = join(root, 'links');
    this.marks = join(root, 'marks');
    this.scrubbed = join(root, 'scrubbed');
  }

  blob(digest: Digest): string {
    const algorithm = digestAlgorithm(digest);
    const encoded = digest.slice(algorithm.length + 1);
    return join(this.blobs, algorithm, encoded.slice(0, 2), encoded);
  }

  newIncoming(): string {
    return join(this.incoming, `${process.pid}-${randomBytes(8).toString('hex')}`);
  }

  repository(repository: UpstreamRepository): string {
    const hash = hashOf(repository);
    return join(this.links, hash.slice(0, 2), hash);
  }

  link(repository: UpstreamRepository, key: LinkKey): string {
    const name =
      key.kind === 'content'
        ? `content-${key.digest.replace(':', '-')}`
        : `${tagPrefix(key.tag)}${shortHash(key.variant)}`;
    return join(this.repository(repository), name);
  }

  /** One of 256: a repository shares its mark with others, which costs these a look at their upstream. */
  mark(repository: UpstreamRepository): string {
    return join(this.marks, hashOf(repository).slice(0, 2));
  }
}

/** With what the names of all variants of a tag begin. */
export function tagPrefix(tag: string): string {
  return `tag-${shortHash(tag)}-`;
}

/** The digest of a file below `blobs`. @returns undefined where it is none */
export function digestOfFile(algorithm: string, encoded: string): Digest | undefined {
  const digest = `${algorithm}:${encoded}`;
  return isDigest(digest) && isComputable(digest) ? digest : undefined;
}

const hashes = new WeakMap<UpstreamRepository, string>();

function hashOf(repository: UpstreamRepository): string {
  const known = hashes.get(repository);
  if (known !== undefined) return known;
  const hash = shortHash(JSON.stringify([repository.upstream, repository.registry, repository.name]));
  hashes.set(repository, hash);
  return hash;
}

/** Of 160 bits: two names with the same one are not found. */
function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 40);
}
