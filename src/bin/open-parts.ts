import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { filePathsIn } from '../config/check-files.js';
import type { Configuration, ConfiguredCredential, ConfiguredDriver } from '../config/configuration.js';
import { printPath } from '../config/problem.js';
import type { DriverKind, DriverKinds } from '../contracts/driver.js';
import type {
  Clock,
  Closable,
  CredentialSource,
  DriverDependencies,
  Log,
  Metrics,
  Policy,
  StateStore,
  TokenIssuer,
  Upstream,
  Verifier,
} from '../contracts/index.js';
import { RefreshedCredentials } from '../decorators/refreshed-credentials.js';
import { SeveralCredentials } from '../decorators/several-credentials.js';
import { describeError } from '../errors.js';
import { RouteTable } from '../routing/route-table.js';
import { ServedHosts } from '../routing/served-host.js';
import { type Lease, PartPool } from './part-pool.js';

/** What everything that is opened shares. */
export interface Surroundings {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Something of the configuration that could not be opened. One line, for the operator. */
export class OpeningError extends Error {
  override readonly name = 'OpeningError';
}

/** A part, and what it was made from. */
export interface Opened<T> {
  readonly part: T;
  /** Goes into the keys of parts that are made from this one. */
  readonly key: string;
}

/** Opens the drivers of one configuration, and remembers them so that all can be let go, the last one first. */
export class Opener {
  readonly surroundings: Surroundings;
  readonly #configuration: Configuration;
  readonly #pool: PartPool;
  readonly #leases: Lease<Closable>[] = [];

  /** @param pool where parts of another configuration may be found that are the same */
  constructor(configuration: Configuration, surroundings: Surroundings, pool = new PartPool()) {
    this.#configuration = configuration;
    this.surroundings = surroundings;
    this.#pool = pool;
  }

  /**
   * @param from keys of the parts in `given`
   * @throws OpeningError naming the setting
   */
  async open<K extends DriverKind>(
    path: string,
    id: string,
    { driver, config, raw }: ConfiguredDriver<K>,
    given: DriverKinds[K]['given'],
    from: readonly unknown[] = [],
  ): Promise<Opened<DriverKinds[K]['opens']>> {
    const { baseDirectory, namedFiles } = this.#configuration;
    const common: DriverDependencies = { ...this.surroundings, id, baseDirectory };
    const files = namedFiles.filter(({ setting }) => isWithin(setting, path)).map(({ digest }) => digest);
    try {
      return await this.share([driver.kind, id, raw, files, baseDirectory, ...from], () =>
        driver.open(config, { ...common, ...(given as object) } as DriverDependencies &
          DriverKinds[K]['given']),
      );
    } catch (error) {
      throw new OpeningError(tell(path, config, baseDirectory, error), { cause: error });
    }
  }

  /** A part that is no driver's. @param from all it is made from, as JSON has it */
  async share<T extends Closable>(from: readonly unknown[], open: () => Promise<T>): Promise<Opened<T>> {
    const key = createHash('sha256').update(JSON.stringify(from)).digest('hex');
    const lease = await this.#pool.open(key, open);
    this.#leases.push(lease);
    return { part: lease.part, key };
  }

  /** Never rejects: a part that does not close well must not keep the others open. */
  async close(): Promise<void> {
    for (const lease of this.#leases.splice(0).reverse()) {
      await lease.release().catch((error: unknown) => {
        this.surroundings.log.warn({ reason: describeError(error) }, 'a part did not close well');
      });
    }
  }
}

/** True where a setting is one of those below a path: `policy[0].names` below `policy`. */
function isWithin(setting: string, path: string): boolean {
  return setting === path || setting.startsWith(`${path}.`) || setting.startsWith(`${path}[`);
}

/** Names the setting and the file as the configuration does, where the error speaks of a file. */
function tell(path: string, config: unknown, baseDirectory: string, error: unknown): string {
  const text = describeError(error);
  const found = filePathsIn(config)
    .map((one) => ({ ...one, absolute: resolve(baseDirectory, one.file.text) }))
    .sort((a, b) => b.absolute.length - a.absolute.length)
    .find(({ absolute }) => text.includes(absolute));
  if (found === undefined) return `${path}: ${text}`;
  const within = printPath(['x', ...found.path]).slice(1); // as it is printed after something else
  const setting = `${path}${within}`;
  return `${setting}: ${text.replaceAll(found.absolute, found.file.text)}`;
}

export async function openUpstreams(
  opener: Opener,
  { upstreams }: Configuration,
): Promise<ReadonlyMap<string, Opened<Upstream>>> {
  const opened = new Map<string, Opened<Upstream>>();
  for (const [id, { upstream, credentials }] of upstreams) {
    const source = await openCredentials(opener, id, credentials);
    const given = { credentials: source.part };
    opened.set(id, await opener.open(`upstreams.${id}`, id, upstream, given, [source.key]));
  }
  return opened;
}

/** All credentials of one upstream as one source. */
async function openCredentials(
  opener: Opener,
  upstream: string,
  credentials: readonly ConfiguredCredential[],
): Promise<Opened<CredentialSource>> {
  const { clock, log, metrics } = opener.surroundings;
  const opened: Opened<CredentialSource>[] = [];
  for (const [i, { setting, source }] of credentials.entries()) {
    const { part, key } = await opener.open(setting, upstream, source, {});
    const settings = { clock, log, metrics, upstream, credential: i + 1 };
    opened.push(
      source.driver.type === anonymous
        ? { part, key }
        : await opener.share(['refreshed', i, key], async () => new RefreshedCredentials(part, settings)),
    );
  }
  const [only] = opened;
  if (only !== undefined && opened.length === 1) return only;
  return opener.share(
    ['several', ...opened.map(({ key }) => key)],
    async () =>
      new SeveralCredentials(
        opened.map(({ part }) => part),
        { clock, log, upstream },
      ),
  );
}

/** It has nothing to refresh, and nothing that could be missing. */
const anonymous = 'anonymous';

export function openState(opener: Opener, { state }: Configuration): Promise<Opened<StateStore>> {
  return opener.open('state', 'state', state, { access: 'owner' });
}

/** @param i its place in the configuration */
export function openVerifier(
  opener: Opener,
  { verifiers }: Configuration,
  i: number,
  state: Opened<StateStore>,
): Promise<Opened<Verifier>> {
  const setting = verifiers[i];
  if (setting === undefined) throw new RangeError(`there is no verifier ${i}`);
  return opener.open(`verifiers[${i}]`, setting.id, setting.driver, { state: state.part }, [state.key]);
}

export async function openPolicy(opener: Opener, configuration: Configuration): Promise<Policy> {
  const given = {
    verifiers: configuration.verifiers.map(({ id }) => id),
    mergedVerifiers: configuration.mergedVerifiers,
    services: servedHosts(configuration).services,
  };
  return (await opener.open('policy', 'policy', configuration.policy, given, [given])).part;
}

export async function openIssuer(
  opener: Opener,
  { token, externalUrl }: Configuration,
): Promise<Opened<TokenIssuer>> {
  const given = { issuer: externalUrl.origin };
  return opener.open('token', 'token', token.issuer, given, [given]);
}

function servedHosts({ externalUrl, routes }: Configuration): ServedHosts {
  return new ServedHosts(
    externalUrl,
    routes.flatMap((route) => route.host ?? []),
  );
}

export function routeTable(
  { externalUrl, routes }: Configuration,
  upstreams: ReadonlyMap<string, Opened<Upstream>>,
): RouteTable {
  return new RouteTable(externalUrl, routes, new Map([...upstreams].map(([id, { part }]) => [id, part])));
}
