import { didYouMean } from '../plugins/suggest.js';
import { routeSchema } from './core-schema.js';
import { isMapping, type Mapping } from './mapping.js';
import type { Finding } from './problem.js';

/** What is wrong between the parts of a raw configuration; parts that are wrong in themselves are passed over. */
export function checkReferences(raw: unknown): readonly Finding[] {
  const core = isMapping(raw) ? raw : {};
  const upstreams = isMapping(core.upstreams) ? Object.keys(core.upstreams) : [];
  const verifiers = (Array.isArray(core.verifiers) ? core.verifiers : []).map((entry: unknown) =>
    isMapping(entry) && typeof entry.id === 'string' ? entry.id : undefined,
  );
  return [
    ...checkRoutes(core.routes, upstreams),
    ...checkSomethingServed(core),
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
    ...checkMerged(
      core.mergedVerifiers,
      verifiers.filter((id) => id !== undefined),
    ),
  ];
}

function checkRoutes(routes: unknown, upstreams: readonly string[]): readonly Finding[] {
  if (!Array.isArray(routes)) return [];
  const findings: Finding[] = [];
  const prefixes = new Map<string, number>();
  const mirrored = new Map<string, number>();
  for (const [i, entry] of routes.entries()) {
    const parsed = routeSchema.safeParse(entry);
    if (!parsed.success) continue;
    const { host, prefix, upstream, ns } = parsed.data;
    if (!upstreams.includes(upstream)) {
      const known = upstreams.length === 0 ? 'there are none' : `known: ${upstreams.join(', ')}`;
      findings.push({
        path: ['routes', i, 'upstream'],
        message: `unknown upstream '${upstream}'; ${known}${didYouMean(upstream, upstreams)}`,
      });
    }
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

function checkSomethingServed(core: Mapping): readonly Finding[] {
  const isEmpty = (value: unknown) => value === undefined || (Array.isArray(value) && value.length === 0);
  const services = isMapping(core.token) ? core.token.services : undefined;
  return isEmpty(core.routes) && isEmpty(services)
    ? [{ path: ['routes'], message: 'expected at least one route, or other registries in token.services' }]
    : [];
}

function checkMerged(merged: unknown, verifiers: readonly string[]): readonly Finding[] {
  return (Array.isArray(merged) ? merged : []).flatMap((id: unknown, i): Finding[] =>
    typeof id === 'string' && !verifiers.includes(id)
      ? [{ path: ['mergedVerifiers', i], message: `unknown verifier '${id}'${didYouMean(id, verifiers)}` }]
      : [],
  );
}
