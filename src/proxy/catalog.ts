import { Readable } from 'node:stream';
import {
  type CallOptions,
  type Clock,
  type Policy,
  type Principal,
  qualifiedName,
  type Upstream,
} from '../contracts/index.js';
import { clientNetwork } from '../decorators/client-network.js';
import { RegistryError } from '../errors.js';
import { type RepositoryName, shorten } from '../reference/repository-name.js';
import type { Scope } from '../reference/scope.js';
import type { RouteTable } from '../routing/route-table.js';
import type { ServedHost } from '../routing/served-host.js';
import type { ClientResponse } from './client-request.js';
import { type Entry, merged, NamesAtPlace, take } from './names-at-place.js';
import { Pace } from './pace.js';
import { type RepositoryListLimits, UpstreamRepositories } from './upstream-repositories.js';
import { VerdictMemory } from './verdicts.js';
import { type WalkLimits, WalkQueue } from './walk-queue.js';

const usualPage = 100;
const largestPage = 1000;

/** Names the policy decides on between two looks at the clock. */
const batchSize = 50;

const usualWalks: CatalogWalkLimits = { atOnce: 2, waiting: 32, ofOne: 8, time: 10_000 };

export interface CatalogWalkLimits extends WalkLimits {
  /** Milliseconds one request may work through names that are not shown. */
  readonly time: number;
}

export interface CatalogParts {
  readonly routes: RouteTable;
  /** Those that are listed, by their ids. */
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly policy: Policy;
  readonly clock: Clock;
  readonly limits?: RepositoryListLimits;
  readonly walks?: CatalogWalkLimits;
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
 *
 * Who may pull the least is the most work, for a page is full only after a long walk. So walks wait for each other, go
 * at a slow pace, and what the policy said of a name is remembered for as long as the list that has it.
 */
export class Catalog {
  readonly #parts: CatalogParts;
  readonly #repositories: UpstreamRepositories;
  readonly #queue: WalkQueue;
  readonly #timeLimit: number;
  readonly #pace = new Pace();
  readonly #memory = new VerdictMemory();

  constructor(parts: CatalogParts) {
    this.#parts = parts;
    const walks = parts.walks ?? usualWalks;
    this.#queue = new WalkQueue(walks);
    this.#timeLimit = walks.time;
    this.#repositories = new UpstreamRepositories(parts.upstreams, parts.clock, parts.limits);
  }

  /**
   * @throws RegistryError UNSUPPORTED with 400 for a bad `n`; UNAVAILABLE where a listed upstream does not list;
   *   TOOMANYREQUESTS where too many ask, or this took too long: the next request then goes on where it ended
   */
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
    request: CatalogRequest,
    last: string,
    count: number,
    o: CallOptions,
  ): Promise<readonly RepositoryName[]> {
    const lists = await this.#lists(request, last, o);
    return this.#queue.run(clientOf(request), o, () => this.#walk(merged(lists), request, count, o));
  }

  async #walk(
    entries: Iterator<Entry, void>,
    request: CatalogRequest,
    count: number,
    o: CallOptions,
  ): Promise<readonly RepositoryName[]> {
    const found: RepositoryName[] = [];
    let spent = 0;
    let isDone = false;
    while (!isDone) {
      if (spent > this.#timeLimit) throw tooLong();
      spent += await this.#pace.slice(o, async (isOver) => {
        do {
          const batch = take(entries, batchSize);
          for (const name of await this.#shown(batch, request, o)) {
            // A route may repeat what another one gives: such names stand side by side.
            if (name !== found.at(-1)) found.push(name);
          }
          isDone = batch.length < batchSize || found.length >= count;
        } while (!isDone && !isOver());
      });
    }
    return found.slice(0, count);
  }

  /** The names of those entries that the client may pull; the policy is asked about what is not known yet. */
  async #shown(
    batch: readonly Entry[],
    { host, who, address }: CatalogRequest,
    o: CallOptions,
  ): Promise<readonly RepositoryName[]> {
    const { routes, policy } = this.#parts;
    const named = batch.flatMap((entry) => {
      const name = routes.nameAt(entry.place, entry.upstreamName);
      if (name !== undefined) return [{ entry, name }];
      entry.verdicts.record(entry.index, false);
      return [];
    });
    const unknown = named.filter(({ entry }) => !entry.verdicts.isShown(entry.index));
    if (unknown.length > 0) {
      const scopes = unknown.map(({ name }) => pullOf(name));
      const decisions = await policy.decide(who, scopes, { service: host.service, address }, o);
      for (const [i, { entry }] of unknown.entries()) {
        entry.verdicts.record(entry.index, decisions[i]?.granted.includes('pull') ?? false);
      }
    }
    return named.filter(({ entry }) => entry.verdicts.isShown(entry.index)).map(({ name }) => name);
  }

  /** What no route of this host leads to is not asked for. */
  async #lists(request: CatalogRequest, last: string, o: CallOptions): Promise<readonly NamesAtPlace[]> {
    const terms = this.#termsOf(request);
    const lists = this.#repositories.ids.map(async (id) => {
      const places = this.#parts.routes.placesOf(request.host, id);
      if (places.length === 0) return [];
      const names = await this.#repositories.of(id, o);
      return places.map((place) => {
        const verdicts = this.#memory.of(names, [...terms, id, place.prefix, place.rewrite]);
        return new NamesAtPlace(place, names, verdicts, last);
      });
    });
    return (await Promise.all(lists)).flat();
  }

  /** All that a decision may depend on beside the name. */
  #termsOf({ host, who, address }: CatalogRequest): readonly unknown[] {
    const { verifier, name, kind, groups, attributes } = this.#parts.policy.relevant(who);
    return [host.service, address, verifier, name, kind, groups, attributes];
  }
}

/** Who waits for whom: an anonymous principal is everybody, so the network it comes from counts. */
function clientOf({ who, address }: CatalogRequest): string {
  return who.kind === 'anonymous' ? `anonymous ${clientNetwork(address)}` : qualifiedName(who);
}

function tooLong(): RegistryError {
  return new RegistryError('TOOMANYREQUESTS', {
    message: 'the catalogue takes long to read',
    reason: 'it took too long to find a page of names to show',
    retryAfter: 1,
  });
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
