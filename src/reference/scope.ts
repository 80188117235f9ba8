import { isRegistryHost } from './registry-host.js';
import { isRepositoryName, type RepositoryName } from './repository-name.js';

/** distribution `docs/content/spec/auth/scope.md`; `*` is what `registry:catalog` asks for. */
export const actions = ['pull', 'push', 'delete', '*'] as const;
export type Action = (typeof actions)[number];

/** What is asked for or granted: actions on one repository, or on the registry's catalogue. */
export type Scope =
  | { readonly type: 'repository'; readonly name: RepositoryName; readonly actions: readonly Action[] }
  | { readonly type: 'registry'; readonly name: 'catalog'; readonly actions: readonly Action[] };

/**
 * Parses one scope, `repository:a/b:pull,push`. `repository(plugin)` equals `repository`. A name may hold one colon,
 * `host:port/name`: then the host is dropped, for the service says which registry is meant.
 *
 * @returns undefined for a scope of another type or an invalid one: it is granted nothing, and is not an error
 *   (token.md: the intersection of what was asked and what is allowed)
 */
export function parseScope(text: string): Scope | undefined {
  if (text.length > 1024) return undefined;
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  if (first < 0 || first === last) return undefined;
  const type = text.slice(0, first);
  const name = text.slice(first + 1, last);
  const wanted = normalizeActions(text.slice(last + 1).split(','));
  if (type === 'registry') return name === 'catalog' ? { type, name, actions: wanted } : undefined;
  if (type !== 'repository' && type !== 'repository(plugin)') return undefined;
  const bare = withoutHost(name);
  return isRepositoryName(bare) ? { type: 'repository', name: bare, actions: wanted } : undefined;
}

/** Known actions, each once, in the order of `actions`. */
export function normalizeActions(wanted: readonly string[]): readonly Action[] {
  return actions.filter((action) => wanted.includes(action));
}

function withoutHost(name: string): string {
  const slash = name.indexOf('/');
  if (slash < 0 || !name.slice(0, slash).includes(':')) return name;
  return isRegistryHost(name.slice(0, slash)) ? name.slice(slash + 1) : name;
}

export function printScope(scope: Scope): string {
  return `${scope.type}:${scope.name}:${scope.actions.join(',')}`;
}

/** True when `granted` covers every action of `wanted`, on the same resource. */
export function covers(granted: readonly Scope[], wanted: Scope): boolean {
  return wanted.actions.every((action) =>
    granted.some((g) => g.type === wanted.type && g.name === wanted.name && g.actions.includes(action)),
  );
}

/** One scope a resource, the union of the actions asked; in the order first asked. */
export function mergeScopes(scopes: readonly Scope[]): readonly Scope[] {
  const merged = new Map<string, Scope>();
  for (const scope of scopes) {
    const key = `${scope.type}:${scope.name}`;
    const known = merged.get(key);
    merged.set(
      key,
      known ? { ...known, actions: normalizeActions([...known.actions, ...scope.actions]) } : scope,
    );
  }
  return [...merged.values()];
}
