import type { RegistryMethod, RegistryOperation } from '../contracts/index.js';
import { printReference } from '../reference/reference.js';
import type { RepositoryName } from '../reference/repository-name.js';
import { type Action, printScope } from '../reference/scope.js';
import { parseSession, withDigest } from './upload-session.js';

/** One operation as the upstream knows it. */
export interface OperationTarget {
  readonly url: URL;
  /** What a token for it must grant, as scopes are written; none for a ping. */
  readonly scopes: readonly string[];
  readonly repository?: RepositoryName;
}

type Upload = Extract<RegistryOperation, { kind: 'upload' }>;

/**
 * OCI distribution-spec v1.1, "Endpoints".
 *
 * @param base the upstream's origin
 * @param deleteActions what a token must grant for a DELETE of content
 * @throws RegistryError BLOB_UPLOAD_INVALID for a session that is not the upstream's
 */
export function operationTarget(
  base: URL,
  method: RegistryMethod,
  operation: RegistryOperation,
  deleteActions: readonly Action[] = ['delete'],
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
  if (operation.kind === 'upload') {
    return { url: uploadUrl(base, operation), scopes: uploadScopes(operation), repository };
  }
  const actions = method === 'DELETE' ? deleteActions : actionsOf(method);
  const of = (path: string, query?: string): OperationTarget => ({
    url: to(`/v2/${repository}/${path}`, query),
    scopes: [printScope({ type: 'repository', name: repository, actions })],
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
  }
}

function uploadUrl(base: URL, { repository, session, digest, mount }: Upload): URL {
  const url =
    session === undefined ? new URL(`/v2/${repository}/blobs/uploads/`, base) : parseSession(session, base);
  if (session === undefined && mount?.from !== undefined) {
    url.search = new URLSearchParams({ mount: mount.digest, from: mount.from }).toString();
    return url;
  }
  return digest === undefined ? url : withDigest(url, digest);
}

/** A session is written to whatever the method: its state too is only for who may push. A mount reads its source. */
function uploadScopes({ repository, session, mount }: Upload): readonly string[] {
  const own = printScope({ type: 'repository', name: repository, actions: ['pull', 'push'] });
  const from = session === undefined ? mount?.from : undefined;
  if (from === undefined || from === repository) return [own];
  return [own, printScope({ type: 'repository', name: from, actions: ['pull'] })];
}

/** distribution `docs/content/spec/auth/scope.md`: writing needs pull too. */
function actionsOf(method: RegistryMethod): readonly Action[] {
  return method === 'GET' || method === 'HEAD' ? ['pull'] : ['pull', 'push'];
}
