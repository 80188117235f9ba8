import type {
  BlobStore,
  CallOptions,
  Clock,
  Log,
  Metrics,
  ProbeOptions,
  ProbeStep,
  RegistryRequest,
  RegistryResponse,
  Upstream,
} from '../contracts/index.js';
import type { RegistryHost } from '../reference/registry-host.js';
import { CacheMetrics } from './cache-metrics.js';
import type { Freshness } from './cache-parts.js';
import { CachedBlobs } from './cached-blobs.js';
import { CachedManifests } from './cached-manifests.js';
import { LinkMemory } from './link-memory.js';
import { Misses } from './misses.js';
import { UpstreamRepositories } from './upstream-repositories.js';

export interface CachedUpstreamParts {
  readonly store: BlobStore;
  readonly freshness: Freshness;
  /** The upstream's name in the configuration. */
  readonly upstream: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * A pull-through cache before an upstream. It is asked after the client was let in: it decides nothing. What is a part
 * of it reads its own copy of the upstream's answers, so conditions and ranges are answered here.
 */
export class CachedUpstream implements Upstream {
  readonly registry: RegistryHost;
  readonly #inner: Upstream;
  readonly #repositories: UpstreamRepositories;
  readonly #manifests: CachedManifests;
  readonly #blobs: CachedBlobs;

  /** @param inner notes its writes in the store */
  constructor(inner: Upstream, { upstream, metrics, ...common }: CachedUpstreamParts) {
    this.registry = inner.registry;
    this.#inner = inner;
    this.#repositories = new UpstreamRepositories(inner, upstream);
    const parts = {
      ...common,
      inner,
      links: new LinkMemory(common.store),
      misses: new Misses(common.clock, common.freshness.miss),
      metrics: new CacheMetrics(metrics, upstream),
    };
    this.#manifests = new CachedManifests(parts);
    this.#blobs = new CachedBlobs(parts);
  }

  async fetch(request: RegistryRequest, o: CallOptions): Promise<RegistryResponse> {
    o.signal.throwIfAborted();
    const { operation, method } = request;
    if (method === 'GET' || method === 'HEAD') {
      if (operation.kind === 'manifest') {
        return this.#manifests.fetch(request, operation, this.#repositories.named(operation.repository), o);
      }
      if (operation.kind === 'blob') {
        return this.#blobs.fetch(request, operation, this.#repositories.named(operation.repository), o);
      }
    }
    return this.#inner.fetch(request, o);
  }

  canonicalName(name: string): string {
    return this.#inner.canonicalName(name);
  }

  probe(o: ProbeOptions): Promise<readonly ProbeStep[]> {
    return this.#inner.probe(o);
  }

  /** The upstream and the store are closed by those who opened them. */
  async close(): Promise<void> {
    this.#manifests.close();
    this.#blobs.close();
  }
}
