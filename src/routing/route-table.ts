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
  /** In the upstream's place, where this route reaches it in a way of its own. */
  readonly by?: Upstream;
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

/** One way back: on this host, what an upstream has under `rewrite` is called by `prefix`. */
export interface Place {
  readonly host: ServedHost;
  readonly upstreamId: string;
  /** Empty, or ends with `/`; so does `rewrite`. */
  readonly prefix: string;
  readonly rewrite: string;
}

/** Turns host, `ns` and name into one canonical name and its upstream, and back. */
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

  /** All places that an upstream's repositories may have on this host. */
  placesOf(host: ServedHost, upstreamId: string): readonly Place[] {
    const places = this.#routes
      .filter((route) => route.upstream === upstreamId && isOn(route, host))
      .map(({ prefix, rewrite }) => [`${prefix} ${rewrite}`, { host, upstreamId, prefix, rewrite }] as const);
    return [...new Map(places).values()];
  }

  /**
   * The canonical name that an upstream's repository has at this place: `resolve` leads from it to that repository. In
   * one place the names are in the order of the upstream's own.
   *
   * @returns undefined where it has none: it stands outside of `rewrite`, a longer prefix takes the name, or the name
   *   is too long
   */
  nameAt(
    { host, upstreamId, prefix, rewrite }: Place,
    upstreamName: RepositoryName,
  ): RepositoryName | undefined {
    if (!upstreamName.startsWith(rewrite)) return undefined;
    const name = prefix + upstreamName.slice(rewrite.length);
    if (!isRepositoryName(name)) return undefined;
    try {
      const found = this.#match(host, name);
      const leadsBack = found?.upstreamId === upstreamId && found.upstreamName === upstreamName;
      return leadsBack && found.canonical === name ? name : undefined;
    } catch (error) {
      if (error instanceof RegistryError) return undefined;
      throw error;
    }
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
    return {
      canonical: parseRepositoryName(canonical),
      upstreamId: route.upstream,
      upstream: route.by ?? upstream,
      upstreamName,
    };
  }
}

function isOn(route: { readonly service: string | undefined }, host: ServedHost): boolean {
  return route.service === undefined || route.service === host.service;
}
