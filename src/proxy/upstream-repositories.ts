import type { CallOptions, Clock, RegistryResponse, Upstream } from '../contracts/index.js';
import { SingleFlight } from '../decorators/single-flight.js';
import { RegistryError } from '../errors.js';
import { isRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import { readList } from './rewrite.js';

/** What one upstream's list may take. */
export interface RepositoryListLimits {
  readonly names: number;
  readonly pages: number;
  /** Milliseconds for the whole. */
  readonly time: number;
}

const usualLimits: RepositoryListLimits = { names: 200_000, pages: 1000, time: 60_000 };

/** Milliseconds a list is kept, so that paging does not ask again each time. */
const keptFor = 30_000;

/** The most that distribution and GitLab let a client ask for. */
const wantedPage = 'n=1000';

interface Kept {
  readonly names: readonly RepositoryName[];
  /** Milliseconds since the epoch. */
  readonly until: number;
}

/** The repositories of some upstreams (distribution `docs/content/spec/api.md`, "Listing Repositories"). */
export class UpstreamRepositories {
  readonly #upstreams: ReadonlyMap<string, Upstream>;
  readonly #clock: Clock;
  readonly #limits: RepositoryListLimits;
  readonly #kept = new Map<string, Kept>();
  readonly #flights: SingleFlight<readonly RepositoryName[]>;

  constructor(upstreams: ReadonlyMap<string, Upstream>, clock: Clock, limits = usualLimits) {
    this.#upstreams = upstreams;
    this.#clock = clock;
    this.#limits = limits;
    this.#flights = new SingleFlight(limits.time);
  }

  /** The upstreams that are listed. */
  get ids(): readonly string[] {
    return [...this.#upstreams.keys()];
  }

  /**
   * All repositories of one upstream, in the order of their bytes, each once.
   *
   * @throws RegistryError UNAVAILABLE where the list is not to be had whole
   */
  async of(id: string, o: CallOptions): Promise<readonly RepositoryName[]> {
    const kept = this.#kept.get(id);
    if (kept !== undefined && this.#clock.now() < kept.until) return kept.names;
    try {
      return await this.#flights.run(id, o, async (signal) => {
        const names = await this.#read(id, { signal });
        this.#kept.set(id, { names, until: this.#clock.now() + keptFor });
        return names;
      });
    } catch (cause) {
      if (o.signal.aborted) throw o.signal.reason;
      const retryAfter = cause instanceof RegistryError ? cause.retryAfter : undefined;
      throw new RegistryError('UNAVAILABLE', {
        reason: `no catalogue of upstream ${id}`,
        cause,
        ...(retryAfter !== undefined && { retryAfter }),
      });
    }
  }

  async #read(id: string, o: CallOptions): Promise<readonly RepositoryName[]> {
    const upstream = this.#upstreams.get(id);
    if (upstream === undefined) throw unusable('it is not listed');
    const names: unknown[] = [];
    const seen = new Set<string>();
    let response = await firstPage(upstream, o);
    for (;;) {
      for (const name of await namesIn(response)) names.push(name);
      if (names.length > this.#limits.names) throw unusable(`over ${this.#limits.names} names`);
      const { nextPage } = response;
      if (nextPage === undefined) return sorted(names);
      if (seen.has(nextPage)) throw unusable('its pages lead back to an earlier one');
      seen.add(nextPage);
      if (seen.size >= this.#limits.pages) throw unusable(`over ${this.#limits.pages} pages`);
      response = await fetchPage(upstream, nextPage, o);
    }
  }
}

/** Registries that allow smaller pages only answer 400: they then choose the size. */
async function firstPage(upstream: Upstream, o: CallOptions): Promise<RegistryResponse> {
  try {
    return await fetchPage(upstream, wantedPage, o);
  } catch (error) {
    if (!(error instanceof RegistryError) || error.status !== 400) throw error;
    return fetchPage(upstream, '', o);
  }
}

function fetchPage(upstream: Upstream, page: string, o: CallOptions): Promise<RegistryResponse> {
  return upstream.fetch({ method: 'GET', operation: { kind: 'catalog', page }, headers: new Map() }, o);
}

async function namesIn({ body }: RegistryResponse): Promise<readonly unknown[]> {
  if (body === undefined) throw unusable('an answer without a body');
  const text = (await readList(body)).toString('utf8');
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    throw unusable("the upstream's catalogue is not JSON", cause);
  }
  const names = typeof list === 'object' && list !== null && 'repositories' in list ? list.repositories : '';
  if (names === null) return []; // an empty list, as some programs in Go write it
  if (!Array.isArray(names)) throw unusable("the upstream's repositories are no list");
  return names;
}

/** Without what is no name: it could not be pulled by it. */
function sorted(names: readonly unknown[]): readonly RepositoryName[] {
  const valid = names.filter(
    (name): name is RepositoryName => typeof name === 'string' && isRepositoryName(name),
  );
  return [...new Set(valid)].sort();
}

function unusable(reason: string, cause?: unknown): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason, cause });
}
