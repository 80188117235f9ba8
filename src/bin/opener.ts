import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { filePathsIn } from '../config/check-files.js';
import type { Configuration, ConfiguredDriver } from '../config/configuration.js';
import { printPath } from '../config/problem.js';
import type { DriverKind, DriverKinds } from '../contracts/driver.js';
import type { Clock, Closable, DriverDependencies, Log, Metrics } from '../contracts/index.js';
import { describeError } from '../errors.js';
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

/** Why something was not begun: an OpeningError says it all in its message; its cause is for debuggers. */
export function reasonOf(error: unknown): string {
  return error instanceof OpeningError ? error.message : describeError(error);
}

/** What opening a driver needs of the configuration it stands in. */
export type OpenedConfiguration = Pick<Configuration, 'baseDirectory' | 'namedFiles'>;

/** Opens the drivers of one configuration, and remembers them so that all can be let go, the last one first. */
export class Opener {
  readonly surroundings: Surroundings;
  readonly #configuration: OpenedConfiguration;
  readonly #pool: PartPool;
  readonly #leases: Lease<Closable>[] = [];

  /** @param pool where parts of another configuration may be found that are the same */
  constructor(configuration: OpenedConfiguration, surroundings: Surroundings, pool = new PartPool()) {
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

  /** One for the same configuration and with the same pool, to be closed by itself. */
  another(): Opener {
    return new Opener(this.#configuration, this.surroundings, this.#pool);
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
