import type {
  CallOptions,
  ProbeOptions,
  ProbeStep,
  RegistryOperation,
  RegistryRequest,
  RegistryResponse,
  Upstream,
} from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { RegistryHost } from '../reference/registry-host.js';
import { parseRepositoryName } from '../reference/repository-name.js';
import type { Action } from '../reference/scope.js';
import type { Authorizer } from './authorizer.js';
import { discard } from './bodies.js';
import { deleteContent } from './delete-content.js';
import { fetchBlob } from './fetch-blob.js';
import { fetchList } from './fetch-list.js';
import { fetchManifest } from './fetch-manifest.js';
import { operationTarget } from './operation-target.js';
import { type ProbeParts, probe } from './probe.js';
import { putManifest } from './put-manifest.js';
import type { Transport } from './transport.js';
import { upload } from './upload.js';
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
  /** What a token must grant for a DELETE, where that is not `delete`. */
  readonly deleteActions?: readonly Action[];
  readonly probing: Pick<ProbeParts, 'credentials' | 'rules' | 'resolve'>;
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
      if (!(error instanceof RepositoryRefused)) throw error;
      this.#parts.tools.metrics.repositoryRefused();
      throw this.#refusedWrite(request, error) ?? error;
    }
  }

  canonicalName(name: string): string {
    const { defaultNamespace } = this.#parts;
    return defaultNamespace === undefined || name.includes('/') ? name : `${defaultNamespace}/${name}`;
  }

  probe(o: ProbeOptions): Promise<readonly ProbeStep[]> {
    const { probing, tools, transport, tokens, registry } = this.#parts;
    return probe(
      {
        ...probing,
        transport,
        tokens,
        target: { registry },
        enter: async (options) => {
          await this.fetch({ method: 'GET', operation: { kind: 'ping' }, headers: new Map() }, options);
        },
        now: () => tools.clock.now(),
      },
      o,
    );
  }

  async close(): Promise<void> {
    this.#parts.authorizer.close();
    this.#parts.tokens.close();
    await this.#parts.transport.close();
  }

  /** Whoever may push by our policy, and not by our credential, needs other words than whoever asks for too much. */
  #refusedWrite(
    { method, operation }: RegistryRequest,
    { reason }: RepositoryRefused,
  ): RepositoryRefused | undefined {
    const isRead = operation.kind !== 'upload' && (method === 'GET' || method === 'HEAD');
    if (isRead || !('repository' in operation)) return undefined;
    const what = operation.kind !== 'upload' && method === 'DELETE' ? 'delete from' : 'push to';
    const said = `our credential may not ${what} ${operation.repository}`;
    this.#parts.tools.log.warn({ repository: operation.repository, reason }, said);
    return new RepositoryRefused(`${said}: ${reason}`, `the registry does not let this proxy ${what} it`);
  }

  async #dispatch(request: RegistryRequest, { signal }: CallOptions): Promise<RegistryResponse> {
    const { tools, deleteActions } = this.#parts;
    const operation = this.#canonical(request.operation);
    const target = operationTarget(tools.upstream, request.method, operation, deleteActions);
    const call = { request, target, signal };
    if (operation.kind === 'upload') return upload(tools, { ...call, operation });
    const { method } = request;
    if (method === 'PUT' && operation.kind === 'manifest') return putManifest(tools, { ...call, operation });
    if (method === 'DELETE' && (operation.kind === 'manifest' || operation.kind === 'blob')) {
      return deleteContent(tools, { ...call, operation });
    }
    if (method !== 'GET' && method !== 'HEAD') throw new RegistryError('UNSUPPORTED');
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

  /** @throws RegistryError NAME_INVALID: a default namespace can make a name too long */
  #canonical(operation: RegistryOperation): RegistryOperation {
    if (operation.kind === 'ping' || operation.kind === 'catalog') return operation;
    const name = (text: string) => parseRepositoryName(this.canonicalName(text));
    const repository = name(operation.repository);
    if (operation.kind !== 'upload' || operation.mount?.from === undefined)
      return { ...operation, repository };
    return { ...operation, repository, mount: { ...operation.mount, from: name(operation.mount.from) } };
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
