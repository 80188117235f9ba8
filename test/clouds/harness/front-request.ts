import type { Exchange } from './world.js';

export type Action = 'pull' | 'push' | 'delete' | '*';

/** Actions on one repository, or on the catalogue. */
export interface FrontScope {
  readonly type: 'repository' | 'registry';
  readonly name: string;
  readonly actions: readonly Action[];
}

/** What a client asks a registry for. */
export interface FrontRequest {
  readonly kind: 'ping' | 'catalog' | 'manifest' | 'blob' | 'upload' | 'list';
  readonly method: string;
  readonly repository?: string;
  /** What a token must grant; empty for a ping. */
  readonly wanted: readonly FrontScope[];
}

/**
 * OCI distribution-spec v1.1, "Endpoints".
 *
 * @param deleteNeeds what a token must grant to delete a manifest or a blob
 * @returns undefined for a path that no registry has
 */
export function parseFrontRequest(
  { record: { method }, url }: Exchange,
  deleteNeeds: readonly Action[] = ['delete'],
): FrontRequest | undefined {
  if (url.pathname === '/v2/') return { kind: 'ping', method, wanted: [] };
  if (url.pathname === '/v2/_catalog') {
    return { kind: 'catalog', method, wanted: [{ type: 'registry', name: 'catalog', actions: ['*'] }] };
  }
  const match = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/(.+)$/.exec(url.pathname);
  const [, repository, place, rest = ''] = match ?? [];
  if (repository === undefined) return undefined;
  const kind =
    place === 'manifests'
      ? 'manifest'
      : place !== 'blobs'
        ? 'list'
        : rest.startsWith('uploads/')
          ? 'upload'
          : 'blob';
  const reads = (method === 'GET' || method === 'HEAD') && kind !== 'upload';
  const deletes = method === 'DELETE' && kind !== 'upload';
  const actions: readonly Action[] = reads ? ['pull'] : deletes ? deleteNeeds : ['pull', 'push'];
  const from = method === 'POST' ? url.searchParams.get('from') : null;
  const wanted: FrontScope[] = [{ type: 'repository', name: repository, actions }];
  if (from !== null) wanted.push({ type: 'repository', name: from, actions: ['pull'] });
  return { kind, method, repository, wanted };
}

const known: readonly string[] = ['pull', 'push', 'delete', '*'];

/**
 * distribution `docs/content/spec/auth/scope.md`.
 *
 * @param only the actions that it may have; where it is missing, what is unknown is left out
 * @returns undefined for what is no scope
 */
export function parseFrontScope(text: string, only?: readonly string[]): FrontScope | undefined {
  const match = /^(repository|registry):([a-z0-9][a-z0-9/._-]*):([a-z*]+(?:,[a-z*]+)*)$/.exec(text);
  const [, type, name = '', actions = ''] = match ?? [];
  if (type !== 'repository' && type !== 'registry') return undefined;
  const asked = actions.split(',');
  if (only !== undefined && !asked.every((one) => only.includes(one))) return undefined;
  return { type, name, actions: asked.filter((one): one is Action => known.includes(one)) };
}

export function printFrontScope({ type, name, actions }: FrontScope): string {
  return `${type}:${name}:${actions.join(',')}`;
}

export function coversAll(granted: readonly FrontScope[], wanted: readonly FrontScope[]): boolean {
  return wanted.every(({ type, name, actions }) =>
    actions.every((action) =>
      granted.some((one) => one.type === type && one.name === name && one.actions.includes(action)),
    ),
  );
}
