import type { DriverKind } from '../contracts/driver.js';
import { defaultTypes } from './default-types.js';
import { isMapping } from './mapping.js';
import type { SettingPath } from './problem.js';

/** A place of the configuration where a driver is chosen. */
export interface DriverSite<K extends DriverKind = DriverKind> {
  readonly kind: K;
  readonly path: SettingPath;
  /** Absent where the configuration names neither a type nor a module and there is no default. */
  readonly choice?: { readonly type?: string; readonly module?: string };
  /** Of a credential source whose type is not named: the place of its upstream, which may know one. */
  readonly chosenBy?: SettingPath;
  /** What the driver's schema is to check. */
  readonly config: unknown;
  /** Keys beside the driver's. */
  readonly coreKeys: readonly string[];
}

/** The keys of each place that are the program's; all others are the driver's. */
export const coreKeys = {
  upstream: ['type', 'module', 'credentials', 'cache'],
  'credential-source': ['type', 'module'],
  verifier: ['id', 'type', 'module', 'usernames'],
  policy: ['type', 'module', 'tests'],
  'token-issuer': ['type', 'module', 'services', 'refreshTokens'],
  runtime: ['type', 'module'],
  'state-store': ['type', 'module'],
  'blob-store': ['store', 'module', 'tagFreshness', 'contentFreshness', 'missFreshness'],
} as const satisfies Record<DriverKind, readonly string[]>;

/** The key that names the driver. */
export function typeKeyOf(kind: DriverKind): 'type' | 'store' {
  return kind === 'blob-store' ? 'store' : 'type';
}

/**
 * Finds all places in a raw configuration, also in one that is wrong elsewhere, so that all problems are found at
 * once. What is not even a mapping is left to the core schema to complain about.
 */
export function driverSites(raw: unknown): readonly DriverSite[] {
  const core = isMapping(raw) ? raw : {};
  const sites: (DriverSite | undefined)[] = [];
  for (const [name, entry] of Object.entries(isMapping(core.upstreams) ? core.upstreams : {})) {
    if (!isMapping(entry)) continue;
    sites.push(siteOf('upstream', ['upstreams', name], entry));
    sites.push(siteOf('blob-store', ['upstreams', name, 'cache'], entry.cache));
    for (const { path, credential } of credentialsOf(name, entry.credentials)) {
      const site = siteOf('credential-source', path, credential);
      sites.push(site && (site.choice === undefined ? { ...site, chosenBy: ['upstreams', name] } : site));
    }
  }
  for (const [i, entry] of (Array.isArray(core.routes) ? core.routes : []).entries()) {
    if (isMapping(entry)) sites.push(siteOf('blob-store', ['routes', i, 'cache'], entry.cache));
  }
  for (const [i, entry] of (Array.isArray(core.verifiers) ? core.verifiers : []).entries()) {
    sites.push(siteOf('verifier', ['verifiers', i], entry));
  }
  sites.push(siteOf('policy', ['policy'], core.policy));
  sites.push(siteOf('token-issuer', ['token'], core.token ?? {}));
  sites.push(siteOf('state-store', ['state'], core.state ?? {}));
  return sites.filter((site) => site !== undefined);
}

/** The credentials of an upstream, each with its place: one, or each of a list; one that says nothing where there are none. */
export function credentialsOf(
  upstream: string,
  raw: unknown,
): readonly { readonly path: SettingPath; readonly credential: unknown }[] {
  const path = ['upstreams', upstream, 'credentials'];
  if (!Array.isArray(raw)) return [{ path, credential: raw ?? {} }];
  return raw.map((credential: unknown, i) => ({ path: [...path, i], credential }));
}

/** One place. @returns undefined where what stands there is none, which a schema has to say */
export function siteOf(kind: DriverKind, path: SettingPath, entry: unknown): DriverSite | undefined {
  if (kind === 'policy' && Array.isArray(entry)) {
    return { kind, path, choice: { type: defaultTypes.policy }, config: entry, coreKeys: [] };
  }
  if (!isMapping(entry)) return undefined;
  const own: readonly string[] = coreKeys[kind];
  const { [typeKeyOf(kind)]: type, module } = entry;
  if (!isOptionalText(type) || !isOptionalText(module)) return undefined;
  const config = Object.fromEntries(Object.entries(entry).filter(([key]) => !own.includes(key)));
  const site = { kind, path, config, coreKeys: own };
  if (module !== undefined) return { ...site, choice: type === undefined ? { module } : { module, type } };
  const isOpen = kind === 'verifier' || kind === 'credential-source' || kind === 'runtime';
  const chosen = type ?? (isOpen ? undefined : defaultTypes[kind]);
  return chosen === undefined ? site : { ...site, choice: { type: chosen } };
}

const isOptionalText = (value: unknown): value is string | undefined =>
  value === undefined || (typeof value === 'string' && value !== '');
