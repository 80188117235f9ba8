import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CallOptions, Clock, Policy, Principal, Upstream } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import { type RepositoryName, shorten } from '../reference/repository-name.js';
import type { Scope } from '../reference/scope.js';
import type { RouteTable } from '../routing/route-table.js';
import type { ServedHost } from '../routing/served-host.js';
import type { ClientResponse } from './client-request.js';
import { merged, NamesAtPlace, take } from './names-at-place.js';
import { type RepositoryListLimits, UpstreamRepositories } from './upstream-repositories.js';

const usualPage = 100;
const largestPage = 1000;

/** Names the policy decides on in one turn of the event loop. */
const batchSize = 500;

export interface CatalogParts {
  readonly routes: RouteTable;
  /** Those that are listed, by their ids. */
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly policy: Policy;
  readonly clock: Clock;
  readonly limits?: RepositoryListLimits;
}

/** Whose catalogue is asked for, and where. */
export interface CatalogRequest {
  readonly host: ServedHost;
  readonly who: Principal;
  /** The client's IP address. */
  readonly address: string;
  /** The query: `n=100&last=team/app`. */
  readonly page: string;
}

interface Page {
  readonly size: number;
  /** Only names after this one; it need not exist. */
  readonly last: string;
}

/**
 * distribution's catalogue (`docs/content/spec/api.md`, "Listing Repositories"), and of it what the client may pull:
 * canonical names of the asked host in the order of their bytes. It is whole, or it is refused.
 */
export class Catalog {
  readonly #parts: CatalogParts;
  readonly #repositories: UpstreamRepositories;

  constructor(parts: CatalogParts) {
    this.#parts = parts;
    this.#repositories = new UpstreamRepositories(parts.upstreams, parts.clock, parts.limits);
  }

  /** @throws RegistryError UNSUPPORTED with 400 for a bad `n`; UNAVAILABLE where a listed upstream does not list */
  async answer(request: CatalogRequest, o: CallOptions): Promise<ClientResponse> {
    const page = parsePage(request.page);
    const wanted = page.size === 0 ? 0 : page.size + 1; // one more tells whether there is a next page
    const found = wanted === 0 ? [] : await this.#permitted(request, page.last, wanted, o);
    const repositories = found.slice(0, page.size);
    const body = Buffer.from(JSON.stringify({ repositories }));
    const headers = new Map([
      ['content-type', 'application/json'],
      ['content-length', String(body.length)],
    ]);
    const last = found.length > repositories.length ? repositories.at(-1) : undefined;
    const next = last === undefined ? {} : { link: linkTo({ size: page.size, last }) };
    return { status: 200, headers, body: Readable.from([body]), ...next };
  }

  /** The first names after `last` that the client may pull. */
  async #permitted(
    { host, who, address }: CatalogRequest,
    last: string,
    count: number,
    o: CallOptions,
  ): Promise<readonly RepositoryName[]> {
    const { routes, policy } = this.#parts;
    const found: RepositoryName[] = [];
    const entries = merged(await this.#lists(host, last, o));
    for (let batch = take(entries, batchSize); batch.length > 0; batch = take(entries, batchSize)) {
      // A route may repeat what another one gives: such names stand side by side.
      const names = new Set(
        batch.flatMap(({ place, upstreamName }) => routes.nameAt(place, upstreamName) ?? []),
      );
      const scopes = [...names].filter((name) => name !== found.at(-1)).map(pullOf);
      const decisions = await policy.decide(who, scopes, { service: host.service, address }, o);
      for (const [i, { name }] of scopes.entries()) {
        if (decisions[i]?.granted.includes('pull')) found.push(name);
      }
      if (found.length >= count) break;
      await nextTurn();
      o.signal.throwIfAborted();
    }
    return found.slice(0, count);
  }

  /** What no route of this host leads to is not asked for. */
  async #lists(host: ServedHost, last: string, o: CallOptions): Promise<readonly NamesAtPlace[]> {
    const lists = this.#repositories.ids.map(async (id) => {
      const places = this.#parts.routes.placesOf(host, id);
      if (places.length === 0) return [];
      const names = await this.#repositories.of(id, o);
      return places.map((place) => new NamesAtPlace(place, names, last));
    });
    return (await Promise.all(lists)).flat();
  }
}

/** As distribution reads it, but a larger page than the largest is cut down instead of refused. */
function parsePage(query: string): Page {
  const parameters = new URLSearchParams(query);
  const n = parameters.get('n') || String(usualPage);
  if (!/^\d+$/.test(n)) {
    const message = 'invalid number of results requested';
    throw new RegistryError('UNSUPPORTED', { status: 400, message, detail: { n: shorten(n) } });
  }
  return { size: Math.min(Number(n), largestPage), last: parameters.get('last') ?? '' };
}

function linkTo({ size, last }: Page): string {
  return `</v2/_catalog?${new URLSearchParams({ last, n: String(size) })}>; rel="next"`;
}

function pullOf(name: RepositoryName): Scope & { readonly name: RepositoryName } {
  return { type: 'repository', name, actions: ['pull'] };
}
