import { LRUCache } from 'lru-cache';
import type { BlobStore, CallOptions, Link, LinkKey, UpstreamRepository } from '../contracts/index.js';

interface Remembered {
  /** Of the repository when the link was read. */
  readonly mark: string;
  readonly link: Link;
}

/** Entries. */
const most = 20_000;

/** The links of a store, with those in memory that no push has changed since. */
export class LinkMemory {
  readonly #store: BlobStore;
  readonly #remembered = new LRUCache<string, Remembered>({ max: most });

  constructor(store: BlobStore) {
    this.#store = store;
  }

  /** What is in memory. @param mark of the repository now */
  remembered(repository: UpstreamRepository, key: LinkKey, mark: string): Link | undefined {
    const found = this.#remembered.get(textOf(repository, key));
    return found?.mark === mark ? found.link : undefined;
  }

  async find(
    repository: UpstreamRepository,
    key: LinkKey,
    { signal, mark }: CallOptions & { readonly mark: string },
  ): Promise<Link | undefined> {
    const known = this.remembered(repository, key, mark);
    if (known !== undefined) return known;
    const link = await this.#store.linkOf(repository, key, { signal });
    if (link !== undefined) this.#remembered.set(textOf(repository, key), { mark, link });
    return link;
  }

  /** @param mark of the repository before its upstream was asked */
  async write(
    repository: UpstreamRepository,
    key: LinkKey,
    link: Link,
    { signal, mark }: CallOptions & { readonly mark: string },
  ): Promise<void> {
    this.#remembered.set(textOf(repository, key), { mark, link });
    await this.#store.link(repository, key, link, { signal, mark });
  }

  async remove(
    repository: UpstreamRepository,
    key: Parameters<BlobStore['unlink']>[1] & { readonly variant?: string },
    o: CallOptions,
  ): Promise<void> {
    if (key.kind === 'content') this.#remembered.delete(textOf(repository, key));
    else this.#remembered.delete(textOf(repository, { variant: '', ...key }));
    await this.#store.unlink(repository, key, o);
  }
}

function textOf({ name }: UpstreamRepository, key: LinkKey): string {
  return key.kind === 'content' ? `${name}@${key.digest}` : `${name}:${key.tag} ${key.variant}`;
}
