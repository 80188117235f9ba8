import type { CallOptions, RegistryRequest, RegistryResponse, Upstream } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { RegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import type { Authorizer } from './authorizer.js';
import { discard } from './bodies.js';
import { fetchBlob } from './fetch-blob.js';
import { fetchList } from './fetch-list.js';
import { fetchManifest } from './fetch-manifest.js';
import { operationTarget } from './operation-target.js';
import type { Transport } from './transport.js';
import { failure, type OperationOf, type UpstreamCall, type UpstreamTools } from './upstream-call.js';
import { RepositoryRefused } from './upstream-errors.js';
import type { UpstreamTokens } from './upstream-tokens.js';

export interface RegistryUpstreamParts {
  readonly tools: UpstreamTools;
  readonly transport: Transport;
  readonly authorizer: Authorizer;
  readonly tokens: UpstreamTokens;
  /** The name it has in credential stores: `docker.io` for Docker Hub. */
  readonly registry: RegistryHost;
  readonly defaultNamespace?: string;
}

/** One remote registry that speaks the OCI distribution-spec. */
export class RegistryUpstream implements Upstream {
  readonly registry: RegistryHost;
  readonly #parts: RegistryUpstreamParts;

  constructor(parts: RegistryUpstreamParts) {
    this.registry = parts.registry;
    this.#parts = parts;
  }

  async fetch(request: RegistryRequest, o: CallOptions): Promise<RegistryResponse> {
    o.signal.throwIfAborted();
    try {
      return await this.#dispatch(request, o);
    } catch (error) {
      if (o.signal.aborted) throw o.signal.reason;
      if (error instanceof RepositoryRefused) this.#parts.tools.metrics.repositoryRefused();
      throw error;
    }
  }

  canonicalName(name: string): string {
    const { defaultNamespace } = this.#parts;
    return defaultNamespace === undefined || name.includes('/') ? name : `${defaultNamespace}/${name}`;
  }

  async close(): Promise<void> {
    this.#parts.authorizer.close();
    this.#parts.tokens.close();
    await this.#parts.transport.close();
  }

  #dispatch(request: RegistryRequest, { signal }: CallOptions): Promise<RegistryResponse> {
    const { tools } = this.#parts;
    const { method } = request;
    const operation = this.#canonical(request.operation);
    if (operation.kind === 'upload' || (method !== 'GET' && method !== 'HEAD')) {
      throw new RegistryError('UNSUPPORTED');
    }
    const target = operationTarget(tools.upstream, method, operation);
    const call = { request, target, signal };
    switch (operation.kind) {
      case 'ping':
        return ping(tools, { ...call, operation });
      case 'manifest':
        return fetchManifest(tools, { ...call, operation });
      case 'blob':
        return fetchBlob(tools, { ...call, operation });
      default:
        return fetchList(tools, { ...call, operation });
    }
  }

  #canonical(operation: RegistryRequest['operation']): RegistryRequest['operation'] {
    if (operation.kind === 'ping' || operation.kind === 'catalog') return operation;
    // A default namespace can make a name too long.
    return { ...operation, repository: parseRepositoryName(this.canonicalName(operation.repository)) };
  }
}

async function ping(
  tools: UpstreamTools,
  call: UpstreamCall<OperationOf<'ping'>>,
): Promise<RegistryResponse> {
  const outcome = await tools.client.send({
    method: 'GET',
    target: call.target,
    headers: {},
    redirects: 'follow',
    signal: call.signal,
  });
  if (outcome.answer.status !== 200) throw await failure(tools, call, outcome);
  discard(outcome.answer.body);
  return { status: 200, headers: new Map() };
}
