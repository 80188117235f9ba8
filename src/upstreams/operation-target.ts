import type { RegistryMethod, RegistryOperation } from '../contracts/index.js';
import { printReference } from '../reference/reference.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { type Action, printScope } from '../reference/scope.js';

/** One operation as the upstream knows it. */
export interface OperationTarget {
  readonly url: URL;
  /** What a token for it must grant, as scopes are written; none for a ping. */
  readonly scopes: readonly string[];
  readonly repository?: RepositoryName;
}

/** OCI distribution-spec v1.1, "Endpoints". @param base the upstream's origin */
export function operationTarget(
  base: URL,
  method: RegistryMethod,
  operation: RegistryOperation,
): OperationTarget {
  const to = (path: string, query = ''): URL => {
    const url = new URL(path, base);
    url.search = query;
    return url;
  };
  if (operation.kind === 'ping') return { url: to('/v2/'), scopes: [] };
  if (operation.kind === 'catalog') {
    const scope = printScope({ type: 'registry', name: 'catalog', actions: ['*'] });
    return { url: to('/v2/_catalog', operation.page), scopes: [scope] };
  }
  const { repository } = operation;
  const of = (path: string, query?: string): OperationTarget => ({
    url: to(`/v2/${repository}/${path}`, query),
    scopes: [printScope({ type: 'repository', name: repository, actions: actionsOf(method) })],
    repository,
  });
  switch (operation.kind) {
    case 'manifest':
      return of(`manifests/${printReference(operation.reference)}`);
    case 'blob':
      return of(`blobs/${operation.digest}`);
    case 'tags':
      return of('tags/list', operation.page);
    case 'referrers':
      return of(`referrers/${operation.digest}`, operation.page);
    case 'upload':
      return of('blobs/uploads/');
  }
}

/** distribution `docs/content/spec/auth/scope.md`: writing needs pull too. */
function actionsOf(method: RegistryMethod): readonly Action[] {
  if (method === 'GET' || method === 'HEAD') return ['pull'];
  return method === 'DELETE' ? ['delete'] : ['pull', 'push'];
}
