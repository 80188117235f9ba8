import type { CallOptions } from '../contracts/call-options.js';
import type { Credential } from '../contracts/credential-source.js';
import {
  type FilesystemUsage,
  type PullOptions,
  type Runtime,
  RuntimeError,
  type RuntimeImage,
} from '../contracts/runtime.js';
import { RegistryError } from '../errors.js';
import { type Digest, digestOf } from '../reference/digest.js';
import {
  type ImageReference,
  parseImageReference,
  printImageReference,
} from '../reference/image-reference.js';

/** An image that the fake's registries have. */
export interface FakeImage {
  readonly size?: number;
  /** With these only: `user:password`, or the token. */
  readonly credential?: string;
  /** Those with the same are one image. Default: one of its own. */
  readonly digest?: Digest;
}

type FoundImage = FakeImage & Required<Pick<FakeImage, 'digest' | 'size'>>;

/** Pulls from a map of images, named as `printImageReference` does, and keeps what it was asked. */
export class FakeRuntime implements Runtime {
  readonly kind = 'engine';
  readonly available: Map<string, FakeImage>;
  readonly pulls: { readonly image: string; readonly credential?: Credential }[] = [];
  /** True: it cannot be reached. */
  broken = false;
  closed = false;
  readonly #images = new Map<string, RuntimeImage>();

  constructor(available: Readonly<Record<string, FakeImage>> = {}) {
    this.available = new Map(Object.entries(available));
  }

  async pull(image: ImageReference, o: PullOptions): Promise<string> {
    this.#check(o);
    const name = printImageReference(image);
    this.pulls.push({ image: name, ...(o.credential && { credential: o.credential }) });
    const found = this.#find(image);
    if (!found) throw new RegistryError('MANIFEST_UNKNOWN', { detail: { image: name } });
    if (found.credential !== undefined && found.credential !== shown(o.credential)) {
      throw new RegistryError('UNAUTHORIZED');
    }
    const made = runtimeImage(image, found);
    o.onProgress?.({ bytes: made.size, layers: { done: 1, total: 1 } });
    this.#images.set(made.id, joined(made, this.#images.get(made.id)));
    return made.id;
  }

  async status(image: string, o: CallOptions): Promise<RuntimeImage | undefined> {
    this.#check(o);
    return [...this.#images.values()].find((one) => isNamed(one, image));
  }

  async list(o: CallOptions & { readonly image?: string }): Promise<readonly RuntimeImage[]> {
    this.#check(o);
    const { image } = o;
    return [...this.#images.values()].filter((one) => image === undefined || isNamed(one, image));
  }

  async remove(image: string, o: CallOptions): Promise<void> {
    const found = await this.status(image, o);
    if (found) this.#images.delete(found.id);
  }

  async fsInfo(o: CallOptions): Promise<readonly FilesystemUsage[]> {
    this.#check(o);
    const usedBytes = [...this.#images.values()].reduce((sum, { size }) => sum + size, 0);
    const mountpoint = '/var/lib/fake';
    return [
      { timestamp: Date.parse('2026-01-01T00:00:00Z'), mountpoint, usedBytes, inodesUsed: this.#images.size },
    ];
  }

  async ping(o: CallOptions): Promise<void> {
    this.#check(o);
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  #find(image: ImageReference): FoundImage | undefined {
    for (const [name, found] of this.available) {
      const digest = found.digest ?? digestOf(Buffer.from(name));
      const isOfRepository = repositoryOf(parseImageReference(name)) === repositoryOf(image);
      if (name === printImageReference(image) || (isOfRepository && digest === image.digest)) {
        return { size: 1000, ...found, digest: image.digest ?? digest };
      }
    }
    return undefined;
  }

  #check(o: CallOptions): void {
    o.signal.throwIfAborted();
    if (this.broken) throw new RuntimeError('unavailable', 'the runtime is broken');
  }
}

function runtimeImage(image: ImageReference, { digest, size }: FoundImage): RuntimeImage {
  return {
    id: digestOf(Buffer.from(`id of ${digest}`)),
    repoTags: image.tag && !image.digest ? [printImageReference(image)] : [],
    repoDigests: [`${repositoryOf(image)}@${digest}`],
    size,
    pinned: false,
  };
}

/** The image with the names it had before, too. */
function joined(image: RuntimeImage, before: RuntimeImage | undefined): RuntimeImage {
  if (!before) return image;
  return {
    ...image,
    repoTags: [...new Set([...before.repoTags, ...image.repoTags])],
    repoDigests: [...new Set([...before.repoDigests, ...image.repoDigests])],
  };
}

function repositoryOf({ repository }: ImageReference): string {
  return printImageReference({ repository });
}

function isNamed(image: RuntimeImage, asked: string): boolean {
  const hex = /^(?:sha256:)?([0-9a-f]{4,64})$/.exec(asked)?.[1];
  if (hex !== undefined && image.id.startsWith(`sha256:${hex}`)) return true;
  const untagged = asked.replace(/:[^:/@]*(?=@)/, '');
  return (
    image.repoTags.includes(asked) ||
    image.repoDigests.some((one) => one === untagged || one.endsWith(`@${asked}`))
  );
}

function shown(credential: Credential | undefined): string | undefined {
  if (!credential) return undefined;
  if (credential.kind === 'basic') return `${credential.username}:${credential.password.reveal()}`;
  return credential.token.reveal();
}
