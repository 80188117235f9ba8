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

/** Milliseconds a failure is kept, so that not every request walks through the pages of a broken upstream. */
const failureKeptFor = 5_000;

/** The most that distribution and GitLab let a client ask for. */
const wantedPage = 'n=1000';

/** What came of asking for one list. */
type Outcome = { readonly names: readonly RepositoryName[] } | { readonly error: RegistryError };

interface Kept {
  readonly outcome: Outcome;
  /** Milliseconds since the epoch, as `until`. One that lies in the future is from before the clock was set back. */
  readonly since: number;
  readonly until: number;
}

/** The repositories of some upstreams (distribution `docs/content/spec/api.md`, "Listing Repositories"). */
export class UpstreamRepositories {
  readonly #upstreams: ReadonlyMap<string, Upstream>;
  readonly #clock: Clock;
  readonly #limits: RepositoryListLimits;
  readonly #kept = new Map<string, Kept>();
  readonly #flights: SingleFlight<Outcome>;

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
   * All repositories of one upstream, in the order of their bytes, each once; the same array for as long as it is kept.
   *
   * @throws RegistryError UNAVAILABLE where the list is not to be had whole
   */
  async of(id: string, o: CallOptions): Promise<readonly RepositoryName[]> {
    const outcome = this.#present(id) ?? (await this.#ask(id, o));
    if ('error' in outcome) throw outcome.error;
    return outcome.names;
  }

  async #ask(id: string, o: CallOptions): Promise<Outcome> {
    try {
      return await this.#flights.run(id, o, async (signal) => {
        const outcome = { names: await this.#read(id, { signal }) };
        this.#keep(id, outcome, keptFor);
        return outcome;
      });
    } catch (cause) {
      // Who leaves is no failure of the upstream.
      if (o.signal.aborted) throw o.signal.reason;
      const outcome = { error: unlisted(id, cause) };
      this.#keep(id, outcome, failureKeptFor);
      return outcome;
    }
  }

  #present(id: string): Outcome | undefined {
    const kept = this.#kept.get(id);
    const now = this.#clock.now();
    return kept !== undefined && kept.since <= now && now < kept.until ? kept.outcome : undefined;
  }

  #keep(id: string, outcome: Outcome, time: number): void {
    const since = this.#clock.now();
    this.#kept.set(id, { outcome, since, until: since + time });
  }

  async #read(id: string, o: CallOptions): Promise<readonly RepositoryName[]> {
    const upstream = this.#upstreams.get(id);
    if (upstream === undefined) throw unusable('it is not listed');
    const names: RepositoryName[] = [];
    let listed = 0;
    const seen = new Set<string>();
    let response = await firstPage(upstream, o);
    for (;;) {
      const page = await namesIn(response);
      listed += page.length;
      if (listed > this.#limits.names) throw unusable(`over ${this.#limits.names} names`);
      for (const name of page) if (isName(name)) names.push(name);
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

/** What is no name could not be pulled by it. */
function isName(name: unknown): name is RepositoryName {
  return typeof name === 'string' && isRepositoryName(name);
}

/** Each once. Most upstreams list them in this order already, and sorting costs little then. */
function sorted(names: RepositoryName[]): readonly RepositoryName[] {
  return names.sort().filter((name, i) => name !== names[i - 1]);
}

function unlisted(id: string, cause: unknown): RegistryError {
  const retryAfter = cause instanceof RegistryError ? cause.retryAfter : undefined;
  return new RegistryError('UNAVAILABLE', {
    reason: `no catalogue of upstream ${id}`,
    cause,
    ...(retryAfter !== undefined && { retryAfter }),
  });
}

function unusable(reason: string, cause?: unknown): RegistryError {
  return new RegistryError('UNAVAILABLE', { reason, cause });
}
