import type {
  BlobStore,
  CallOptions,
  ProbeOptions,
  ProbeStep,
  RegistryRequest,
  RegistryResponse,
  Upstream,
  UpstreamRepository,
} from '../contracts/index.js';
import type { RegistryHost } from '../reference/registry-host.js';
import { unhurried } from './cache-parts.js';
import { UpstreamRepositories } from './upstream-repositories.js';

/**
 * Tells caches what changes at an upstream before the client is told: whoever pulls after a push gets what was pushed.
 */
export class NotedWrites implements Upstream {
  readonly registry: RegistryHost;
  readonly #inner: Upstream;
  readonly #stores: readonly BlobStore[];
  readonly #repositories: UpstreamRepositories;

  /** @param stores all in which something of this upstream may be */
  constructor(inner: Upstream, id: string, stores: readonly BlobStore[]) {
    this.registry = inner.registry;
    this.#inner = inner;
    this.#stores = stores;
    this.#repositories = new UpstreamRepositories(inner, id);
  }

  async fetch(request: RegistryRequest, o: CallOptions): Promise<RegistryResponse> {
    if (!isChange(request)) return this.#inner.fetch(request, o);
    try {
      return await this.#inner.fetch(request, o);
    } finally {
      // Also where it failed: what the upstream has done by then nobody knows.
      await this.#note(request);
    }
  }

  canonicalName(name: string): string {
    return this.#inner.canonicalName(name);
  }

  probe(o: ProbeOptions): Promise<readonly ProbeStep[]> {
    return this.#inner.probe(o);
  }

  /** The upstream and the stores are closed by those who opened them. */
  async close(): Promise<void> {}

  async #note({ operation, method }: RegistryRequest): Promise<void> {
    if (!('repository' in operation)) return;
    const repository = this.#repositories.named(operation.repository);
    for (const store of this.#stores) {
      await store.changed(repository);
      if (operation.kind === 'manifest') await unlink(store, repository, operation, method);
      else if (operation.kind === 'blob')
        await store.unlink(repository, { kind: 'content', digest: operation.digest }, unhurried);
    }
  }
}

async function unlink(
  store: BlobStore,
  repository: UpstreamRepository,
  { reference }: Extract<RegistryRequest['operation'], { kind: 'manifest' }>,
  method: RegistryRequest['method'],
): Promise<void> {
  if (reference.kind === 'tag')
    await store.unlink(repository, { kind: 'tag', tag: reference.tag }, unhurried);
  else if (method === 'DELETE') {
    await store.unlink(repository, { kind: 'content', digest: reference.digest }, unhurried);
  }
}

/** Of an upload its end, and a mount; not its pieces. */
function isChange({ operation, method }: RegistryRequest): boolean {
  if (operation.kind === 'upload') {
    return method === 'PUT' || (method === 'POST' && (operation.digest ?? operation.mount) !== undefined);
  }
  return method === 'PUT' || method === 'DELETE';
}
