import type { CallOptions } from '../contracts/call-options.js';
import type { Credential } from '../contracts/credential-source.js';
import type { FilesystemUsage, Runtime, RuntimeImage } from '../contracts/runtime.js';
import { RegistryError } from '../errors.js';
import { type Digest, digestOf } from '../reference/digest.js';
import { type ImageReference, printImageReference } from '../reference/image-reference.js';

/** An image that the fake's registries have. */
export interface FakeImage {
  readonly size?: number;
  /** With these only: `user:password`, or the token. */
  readonly credential?: string;
}

/** Pulls from a map of images, named as `printImageReference` does, and keeps what it was asked. */
export class FakeRuntime implements Runtime {
  readonly available: Map<string, FakeImage>;
  readonly pulls: { readonly image: string; readonly credential?: Credential }[] = [];
  /** True: it answers UNAVAILABLE. */
  broken = false;
  closed = false;
  readonly #images = new Map<string, RuntimeImage>();

  constructor(available: Readonly<Record<string, FakeImage>> = {}) {
    this.available = new Map(Object.entries(available));
  }

  async pull(image: ImageReference, o: CallOptions & { readonly credential?: Credential }): Promise<string> {
    this.#check(o);
    const name = printImageReference(image);
    this.pulls.push({ image: name, ...(o.credential && { credential: o.credential }) });
    const found = this.available.get(name);
    if (!found) throw new RegistryError('MANIFEST_UNKNOWN', { detail: { image: name } });
    if (found.credential !== undefined && found.credential !== shown(o.credential)) {
      throw new RegistryError('UNAUTHORIZED');
    }
    const made = runtimeImage(image, name, found.size ?? 1000);
    this.#images.set(made.id, made);
    return made.id;
  }

  async status(image: string, o: CallOptions): Promise<RuntimeImage | undefined> {
    this.#check(o);
    return [...this.#images.values()].find((one) => names(one).includes(image));
  }

  async list(o: CallOptions & { readonly image?: string }): Promise<readonly RuntimeImage[]> {
    this.#check(o);
    const { image } = o;
    return [...this.#images.values()].filter((one) => image === undefined || names(one).includes(image));
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

  async close(): Promise<void> {
    this.closed = true;
  }

  #check(o: CallOptions): void {
    o.signal.throwIfAborted();
    if (this.broken) throw new RegistryError('UNAVAILABLE', { reason: 'the runtime is broken' });
  }
}

function runtimeImage(image: ImageReference, name: string, size: number): RuntimeImage {
  const { registry, name: repository } = image.repository;
  const bare = `${registry}/${repository}`;
  const digest: Digest = image.digest ?? digestOf(Buffer.from(name));
  return {
    id: digestOf(Buffer.from(`id of ${name}`)),
    repoTags: image.tag ? [`${bare}:${image.tag}`] : [],
    repoDigests: [`${bare}@${digest}`],
    size,
    pinned: false,
  };
}

function names(image: RuntimeImage): readonly string[] {
  return [image.id, ...image.repoTags, ...image.repoDigests];
}

function shown(credential: Credential | undefined): string | undefined {
  if (!credential) return undefined;
  if (credential.kind === 'basic') return `${credential.username}:${credential.password.reveal()}`;
  return credential.token.reveal();
}
