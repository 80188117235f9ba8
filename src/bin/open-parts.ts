import { resolve } from 'node:path';
import { filePathsIn } from '../config/check-files.js';
import type { Configuration, ConfiguredDriver } from '../config/configuration.js';
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
import { describeError } from '../errors.js';
import { RouteTable } from '../routing/route-table.js';
import { ServedHosts } from '../routing/served-host.js';

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

/** Opens drivers, and remembers them so that all can be closed, the last one first. */
export class Opener {
  readonly #configuration: Configuration;
  readonly #surroundings: Surroundings;
  readonly #opened: Closable[] = [];

  constructor(configuration: Configuration, surroundings: Surroundings) {
    this.#configuration = configuration;
    this.#surroundings = surroundings;
  }

  /** @throws OpeningError naming the setting */
  async open<K extends DriverKind>(
    path: string,
    id: string,
    { driver, config }: ConfiguredDriver<K>,
    given: DriverKinds[K]['given'],
  ): Promise<DriverKinds[K]['opens']> {
    const common: DriverDependencies = {
      ...this.#surroundings,
      id,
      baseDirectory: this.#configuration.baseDirectory,
    };
    try {
      const opened = await driver.open(config, { ...common, ...(given as object) } as DriverDependencies &
        DriverKinds[K]['given']);
      this.#opened.push(opened);
      return opened;
    } catch (error) {
      throw new OpeningError(tell(path, config, this.#configuration.baseDirectory, error), { cause: error });
    }
  }

  async close(): Promise<void> {
    for (const part of this.#opened.splice(0).reverse()) await part.close();
  }
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
): Promise<ReadonlyMap<string, Upstream>> {
  const opened = new Map<string, Upstream>();
  for (const [id, { upstream, credentials }] of upstreams) {
    const path = `upstreams.${id}`;
    const source: CredentialSource = await opener.open(`${path}.credentials`, id, credentials, {});
    opened.set(id, await opener.open(path, id, upstream, { credentials: source }));
  }
  return opened;
}

export async function openVerifiers(
  opener: Opener,
  configuration: Configuration,
  state: StateStore,
): Promise<ReadonlyMap<string, Verifier>> {
  const opened = new Map<string, Verifier>();
  for (const [i, { id }] of configuration.verifiers.entries()) {
    opened.set(id, await openVerifier(opener, configuration, i, state));
  }
  return opened;
}

/** @param i its place in the configuration */
export function openVerifier(
  opener: Opener,
  { verifiers }: Configuration,
  i: number,
  state: StateStore,
): Promise<Verifier> {
  const setting = verifiers[i];
  if (setting === undefined) throw new RangeError(`there is no verifier ${i}`);
  return opener.open(`verifiers[${i}]`, setting.id, setting.driver, { state });
}

export function openPolicy(opener: Opener, configuration: Configuration): Promise<Policy> {
  return opener.open('policy', 'policy', configuration.policy, {
    verifiers: configuration.verifiers.map(({ id }) => id),
    mergedVerifiers: configuration.mergedVerifiers,
    services: servedHosts(configuration).services,
  });
}

export function openIssuer(opener: Opener, { token, externalUrl }: Configuration): Promise<TokenIssuer> {
  return opener.open('token', 'token', token.issuer, { issuer: externalUrl.origin });
}

function servedHosts({ externalUrl, routes }: Configuration): ServedHosts {
  return new ServedHosts(
    externalUrl,
    routes.flatMap((route) => route.host ?? []),
  );
}

export function routeTable(
  { externalUrl, routes }: Configuration,
  upstreams: ReadonlyMap<string, Upstream>,
): RouteTable {
  return new RouteTable(externalUrl, routes, upstreams);
}
