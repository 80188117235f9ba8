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
import { UsualCredentials } from '../decorators/usual-credentials.js';
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
  /** `upstreams.gcr.ca`. */
  readonly setting: string;
  /** What is wrong with it. */
  readonly text: string;

  constructor(setting: string, text: string, options?: ErrorOptions) {
    super(`${setting}: ${text}`, options);
    this.setting = setting;
    this.text = text;
  }
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
      throw openingError(path, config, baseDirectory, error);
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
function openingError(path: string, config: unknown, baseDirectory: string, cause: unknown): OpeningError {
  const text = describeError(cause);
  const found = filePathsIn(config)
    .map((one) => ({ ...one, absolute: resolve(baseDirectory, one.file.text) }))
    .sort((a, b) => b.absolute.length - a.absolute.length)
    .find(({ absolute }) => text.includes(absolute));
  if (found === undefined) return new OpeningError(path, text, { cause });
  const within = printPath(['x', ...found.path]).slice(1); // as it is printed after something else
  const said = text.replaceAll(found.absolute, found.file.text);
  return new OpeningError(`${path}${within}`, said, { cause });
}

export interface OpenedUpstream extends Opened<Upstream> {
  /** Gets its credentials now, and from now on before they are needed. Never throws and never waits. */
  keepReady(): void;
}

export async function openUpstreams(
  opener: Opener,
  { upstreams }: Configuration,
): Promise<ReadonlyMap<string, OpenedUpstream>> {
  const opened = new Map<string, OpenedUpstream>();
  for (const [id, { upstream, credentials }] of upstreams) {
    // Its settings say which registry it is: what was had for another one must not be gone on with.
    const { source, refreshed } = await openCredentials(opener, id, credentials, upstream.raw);
    const given = { credentials: source.part };
    const { part, key } = await opener.open(`upstreams.${id}`, id, upstream, given, [source.key]);
    const keepReady = () => {
      for (const one of refreshed) one.keepReady({ registry: part.registry });
    };
    opened.set(id, { part, key, keepReady });
  }
  return opened;
}

interface OpenedCredentials {
  /** All of one upstream as one source. */
  readonly source: Opened<CredentialSource>;
  readonly refreshed: readonly RefreshedCredentials[];
}

/** @param registry what says which one it is, as JSON has it */
async function openCredentials(
  opener: Opener,
  upstream: string,
  credentials: readonly ConfiguredCredential[],
  registry: unknown,
): Promise<OpenedCredentials> {
  const { clock, log, metrics } = opener.surroundings;
  const opened: Opened<CredentialSource>[] = [];
  const refreshed: RefreshedCredentials[] = [];
  for (const [i, { setting, source }] of credentials.entries()) {
    const { part: inner, key } = await opener.open(setting, upstream, source, {});
    const part = source.isUsual ? new UsualCredentials(inner, source.driver.type) : inner;
    const settings = { clock, log, metrics, upstream, credential: i + 1 };
    if (source.driver.type === anonymous) {
      opened.push({ part, key });
      continue;
    }
    const one = await opener.share(
      ['refreshed', i, source.isUsual, key, registry],
      async () => new RefreshedCredentials(part, settings),
    );
    opened.push(one);
    refreshed.push(one.part);
  }
  const [only] = opened;
  if (only !== undefined && opened.length === 1) return { source: only, refreshed };
  const several = await opener.share(
    ['several', ...opened.map(({ key }) => key)],
    async () =>
      new SeveralCredentials(
        opened.map(({ part }) => part),
        { clock, log, upstream },
      ),
  );
  return { source: several, refreshed };
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
