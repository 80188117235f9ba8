import { normalize } from 'node:path';
import { routeSchema } from './core-schema.js';
import { defaultTypes } from './default-types.js';
import { KnownNames } from './known-names.js';
import { isMapping, type Mapping } from './mapping.js';
import { type Finding, printPath } from './problem.js';

/** What is wrong between the parts of a raw configuration; parts that are wrong in themselves are passed over. */
export function checkReferences(raw: unknown): readonly Finding[] {
  const core = isMapping(raw) ? raw : {};
  const upstreams = new KnownNames(isMapping(core.upstreams) ? Object.keys(core.upstreams) : []);
  const verifiers = (Array.isArray(core.verifiers) ? core.verifiers : []).map((entry: unknown) =>
    isMapping(entry) && typeof entry.id === 'string' ? entry.id : undefined,
  );
  return [
    ...checkRoutes(core.routes, upstreams),
    ...checkCatalog(core.catalog, upstreams),
    ...checkCaches(core),
    ...checkSomethingServed(core),
    ...checkWorkers(core),
    ...verifiers.flatMap((id, i): Finding[] =>
      id !== undefined && verifiers.indexOf(id) !== i
        ? [
            {
              path: ['verifiers', i, 'id'],
              message: `'${id}' is also the id of verifiers[${verifiers.indexOf(id)}]`,
            },
          ]
        : [],
    ),
    ...checkMerged(core.mergedVerifiers, new KnownNames(verifiers.filter((id) => id !== undefined))),
    ...checkSignIn(core.signIn, new KnownNames(verifiers.filter((id) => id !== undefined))),
  ];
}

/** Tokens of one worker must be known to the others; drivers of others' see to that themselves. */
function checkWorkers({ workers, token }: Mapping): readonly Finding[] {
  if (typeof workers !== 'number' || workers <= 1) return [];
  const { type = defaultTypes['token-issuer'], keys } = isMapping(token) ? token : {};
  if (type !== defaultTypes['token-issuer'] || keys !== undefined) return [];
  return [
    { path: ['workers'], message: 'more than one need `token.keys`: each would sign with keys of its own' },
  ];
}

function checkRoutes(routes: unknown, upstreams: KnownNames): readonly Finding[] {
  if (!Array.isArray(routes)) return [];
  const findings: Finding[] = [];
  const prefixes = new Map<string, number>();
  const mirrored = new Map<string, number>();
  for (const [i, entry] of routes.entries()) {
    const parsed = routeSchema.safeParse(entry);
    if (!parsed.success) continue;
    const { host, prefix, upstream, ns } = parsed.data;
    const unknown = upstreams.complaint('upstream', upstream);
    if (unknown !== undefined) findings.push({ path: ['routes', i, 'upstream'], message: unknown });
    const place = `${host ?? 'any host'} ${prefix}`;
    const same = prefixes.get(place);
    if (same === undefined) prefixes.set(place, i);
    else
      findings.push({
        path: ['routes', i, 'prefix'],
        message: `routes[${same}] has the same prefix for ${host ?? 'any host'}`,
      });
    for (const name of ns) {
      const taken = mirrored.get(name);
      if (taken === undefined) mirrored.set(name, i);
      else findings.push({ path: ['routes', i, 'ns'], message: `'${name}' is also in routes[${taken}].ns` });
    }
  }
  return findings;
}

/** One directory, one size: who opened it with another one would evict what belongs to its neighbours. */
function checkCaches({ upstreams, routes }: Mapping): readonly Finding[] {
  const places = [
    ...Object.entries(isMapping(upstreams) ? upstreams : {}).map(
      ([name, entry]) => [['upstreams', name, 'cache'], entry] as const,
    ),
    ...(Array.isArray(routes) ? routes : []).map(
      (entry: unknown, i) => [['routes', i, 'cache'], entry] as const,
    ),
  ];
  const first = new Map<string, { readonly size: string; readonly where: string }>();
  return places.flatMap(([path, entry]): Finding[] => {
    const cache = isMapping(entry) ? entry.cache : undefined;
    if (!isMapping(cache) || typeof cache.path !== 'string' || typeof cache.maxSize !== 'string') return [];
    const same = first.get(normalize(`${cache.path}/`));
    if (same === undefined) {
      first.set(normalize(`${cache.path}/`), { size: cache.maxSize, where: printPath(path) });
      return [];
    }
    if (same.size === cache.maxSize) return [];
    return [
      { path: [...path, 'maxSize'], message: `${same.where} has the same path with maxSize: ${same.size}` },
    ];
  });
}

function checkSomethingServed(core: Mapping): readonly Finding[] {
  const isEmpty = (value: unknown) => value === undefined || (Array.isArray(value) && value.length === 0);
  const services = isMapping(core.token) ? core.token.services : undefined;
  return isEmpty(core.routes) && isEmpty(services)
    ? [{ path: ['routes'], message: 'expected at least one route, or other registries in token.services' }]
    : [];
}

function checkMerged(merged: unknown, verifiers: KnownNames): readonly Finding[] {
  return checkNames(merged, 'mergedVerifiers', 'verifier', verifiers);
}

function checkSignIn(signIn: unknown, verifiers: KnownNames): readonly Finding[] {
  const verifier = isMapping(signIn) ? signIn.verifier : undefined;
  const message = typeof verifier === 'string' ? verifiers.complaint('verifier', verifier) : undefined;
  return message === undefined ? [] : [{ path: ['signIn', 'verifier'], message }];
}

function checkCatalog(catalog: unknown, upstreams: KnownNames): readonly Finding[] {
  return checkNames(catalog, 'catalog', 'upstream', upstreams);
}

function checkNames(names: unknown, setting: string, what: string, known: KnownNames): readonly Finding[] {
  return (Array.isArray(names) ? names : []).flatMap((name: unknown, i): Finding[] => {
    const message = typeof name === 'string' ? known.complaint(what, name) : undefined;
    return message === undefined ? [] : [{ path: [setting, i], message }];
  });
}
