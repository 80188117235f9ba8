import { LRUCache } from 'lru-cache';
import type { Upstream, UpstreamRepository } from '../contracts/index.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { parseRepositoryName } from '../reference/repository-name.js';

/** The repositories of one upstream, each one object while it is in use: a store may remember what belongs to it. */
export class UpstreamRepositories {
  readonly #upstream: Pick<Upstream, 'registry' | 'canonicalName'>;
  readonly #id: string;
  readonly #known = new LRUCache<string, UpstreamRepository>({ max: 5_000 });

  /** @param id the upstream's name in the configuration */
  constructor(upstream: Pick<Upstream, 'registry' | 'canonicalName'>, id: string) {
    this.#upstream = upstream;
    this.#id = id;
  }

  /** @throws RegistryError NAME_INVALID where its canonical name is too long */
  named(repository: RepositoryName): UpstreamRepository {
    const known = this.#known.get(repository);
    if (known !== undefined) return known;
    const name = parseRepositoryName(this.#upstream.canonicalName(repository));
    const made = { upstream: this.#id, registry: this.#upstream.registry, name };
    this.#known.set(repository, made);
    return made;
  }
}
