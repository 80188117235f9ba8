import type { RegistryMethod, RegistryOperation } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { RepositoryName } from '../reference/repository-name.js';
import type { Action, Scope } from '../reference/scope.js';

type Row = Readonly<Partial<Record<RegistryMethod, readonly Action[]>>>;

const read: readonly Action[] = ['pull'];
const write: readonly Action[] = ['pull', 'push'];

/**
 * The one place that says which action a request needs (distribution `docs/content/spec/auth/scope.md`). What is not
 * in the table is not served.
 */
export const requiredActions: Readonly<Record<RegistryOperation['kind'], Row>> = {
  ping: { GET: [], HEAD: [] },
  manifest: { GET: read, HEAD: read, PUT: write, DELETE: ['delete'] },
  blob: { GET: read, HEAD: read, DELETE: ['delete'] },
  upload: { POST: write, PATCH: write, PUT: write, GET: write, DELETE: write },
  tags: { GET: read },
  referrers: { GET: read },
  catalog: { GET: ['*'] },
};

/**
 * @param canonical the canonical name, where the operation has a repository
 * @returns what the request needs; undefined for a ping, which needs no more than being somebody
 * @throws RegistryError UNSUPPORTED
 */
export function requiredScope(
  method: RegistryMethod,
  operation: RegistryOperation,
  canonical: RepositoryName | undefined,
): Scope | undefined {
  const needed = requiredActions[operation.kind][method];
  if (needed === undefined) throw new RegistryError('UNSUPPORTED');
  // POST opens a session, every other method needs one.
  if (operation.kind === 'upload' && (method === 'POST') === (operation.session !== undefined)) {
    throw new RegistryError('UNSUPPORTED');
  }
  if (operation.kind === 'catalog') return { type: 'registry', name: 'catalog', actions: needed };
  return canonical === undefined ? undefined : { type: 'repository', name: canonical, actions: needed };
}
