import type { Upstream } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { isRepositoryName, parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import { type ServedHost, ServedHosts } from './served-host.js';

export interface Route {
  /** `name` or `name:port` in lower case; absent: any host. */
  readonly host?: string;
  /** Empty, or ends with `/`. */
  readonly prefix: string;
  readonly upstream: string;
  /** What takes the prefix's place: empty, or ends with `/`. */
  readonly rewrite: string;
  /** Values of `?ns=` that mean this route. */
  readonly ns: readonly string[];
}

/** Where a repository name leads. */
export interface Destination {
  /** The one name of this repository on its host: challenge, policy and token know only this one. */
  readonly canonical: RepositoryName;
  readonly upstreamId: string;
  readonly upstream: Upstream;
  /** The repository's name at the upstream. */
  readonly upstreamName: RepositoryName;
}

/** Turns host, `ns` and name into one canonical name and its upstream. */
export class RouteTable {
  readonly hosts: ServedHosts;
  readonly #routes: readonly (Route & { readonly service: string | undefined })[];
  readonly #upstreams: ReadonlyMap<string, Upstream>;

  constructor(externalUrl: URL, routes: readonly Route[], upstreams: ReadonlyMap<string, Upstream>) {
    this.hosts = new ServedHosts(
      externalUrl,
      routes.flatMap((route) => route.host ?? []),
    );
    this.#upstreams = upstreams;
    this.#routes = routes
      .map((route) => ({
        ...route,
        service: route.host === undefined ? undefined : this.hosts.named(route.host)?.service,
      }))
      .sort(
        (a, b) =>
          b.prefix.length - a.prefix.length || Number(b.host !== undefined) - Number(a.host !== undefined),
      );
  }

  /**
   * @returns undefined where no route takes this name
   * @throws RegistryError NAME_INVALID where the name becomes too long
   */
  resolve(host: ServedHost, name: RepositoryName): Destination | undefined {
    let asked = name;
    let found = this.#match(host, asked);
    // `hub/alpine` is `hub/library/alpine`, and that name may belong to a longer prefix: then it is that route's, which
    // may again have a longer name for it. Each step is to a longer prefix, so there are no more steps than routes.
    for (let steps = 0; found !== undefined && found.canonical !== asked; steps++) {
      if (steps > this.#routes.length) throw new RegistryError('NAME_INVALID', { detail: { name } });
      asked = found.canonical;
      found = this.#match(host, asked);
    }
    return found;
  }

  /**
   * The name on this host of a repository that a containerd mirror asks for by the registry it mirrors (`?ns=`).
   *
   * @throws RegistryError NAME_UNKNOWN for a registry that no route lists: `ns` is never a host to dial
   */
  mirrored(host: ServedHost, ns: string, name: RepositoryName): RepositoryName {
    const registry = ns.toLowerCase();
    if (this.hosts.services.includes(registry)) return name;
    const route = this.#routes.find((candidate) => candidate.ns.includes(registry) && isOn(candidate, host));
    if (route === undefined) throw new RegistryError('NAME_UNKNOWN', { reason: 'no route has this ns' });
    return parseRepositoryName(route.prefix + name);
  }

  #match(host: ServedHost, name: RepositoryName): Destination | undefined {
    const route = this.#routes.find(
      (candidate) => isOn(candidate, host) && name.startsWith(candidate.prefix),
    );
    const upstream = route === undefined ? undefined : this.#upstreams.get(route.upstream);
    if (route === undefined || upstream === undefined) return undefined;
    const rest = name.slice(route.prefix.length);
    const upstreamName = upstream.canonicalName(route.rewrite + rest);
    const canonical = upstreamName.startsWith(route.rewrite)
      ? route.prefix + upstreamName.slice(route.rewrite.length)
      : name;
    if (!isRepositoryName(upstreamName)) throw new RegistryError('NAME_INVALID', { detail: { name } });
    return { canonical: parseRepositoryName(canonical), upstreamId: route.upstream, upstream, upstreamName };
  }
}

function isOn(route: { readonly service: string | undefined }, host: ServedHost): boolean {
  return route.service === undefined || route.service === host.service;
}
