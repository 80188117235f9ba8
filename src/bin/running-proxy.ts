import { setTimeout as sleep } from 'node:timers/promises';
import type { Configuration } from '../config/configuration.js';
import type { Log } from '../contracts/index.js';
import { type Generation, Generations } from './generation.js';
import { GenerationSuccession } from './generation-succession.js';
import { type BoundAddress, type ServerSurroundings, Servers } from './servers.js';
import { StoppedError } from './stopped-error.js';

/** A proxy that is serving. */
export interface RunningProxy {
  readonly address: BoundAddress;
  readonly adminAddress: BoundAddress | undefined;
  readonly redirectAddress: BoundAddress | undefined;
  /** What it serves now. */
  readonly configuration: Configuration;
  /** Drivers and other parts that are open, those with them that only earlier requests still need. */
  readonly openParts: number;
  /**
   * Serves another configuration from the next request on; what is under way ends with the earlier one. One call at a
   * time.
   *
   * @returns the settings that are left as they were until a restart
   * @throws OpeningError or an Error with a one-line message, and StoppedError; the earlier configuration stays then
   */
  reload(configuration: Configuration): Promise<readonly string[]>;
  /** Opens anew the files it writes that may have been renamed. Never throws and never waits. */
  reopenFiles(): void;
  /** Lets requests in progress finish, up to the configured time, and closes everything. */
  stop(): Promise<void>;
}

/**
 * Opens everything a configuration names, and only then listens: nobody is served with half of it.
 *
 * @param stop gives up before it listens
 * @throws OpeningError or an Error with a one-line message, and StoppedError; nothing is left open then
 */
export async function startProxy(
  configuration: Configuration,
  surroundings: ServerSurroundings,
  stop?: AbortSignal,
): Promise<RunningProxy> {
  const generations = new Generations(surroundings);
  const generation = await generations.open(configuration);
  const servers = new Servers(generation, surroundings);
  try {
    if (stop?.aborted) throw new StoppedError();
    await servers.open();
  } catch (error) {
    await servers.drain(0);
    await generation.close();
    throw error;
  }
  generation.keepReady();
  return new ServingProxy(generations, generation, servers, surroundings);
}

class ServingProxy implements RunningProxy {
  readonly #generations: Generations;
  readonly #servers: Servers;
  readonly #log: Log;
  readonly #succession: GenerationSuccession<Configuration, Generation>;

  constructor(
    generations: Generations,
    generation: Generation,
    servers: Servers,
    { log, metrics }: ServerSurroundings,
  ) {
    this.#generations = generations;
    this.#servers = servers;
    this.#log = log;
    this.#succession = new GenerationSuccession(generation, {
      open: (configuration) => generations.open(configuration),
      adjust: (configuration) => servers.adjust(configuration),
      use: ({ front }) => servers.front.use(front),
      metrics,
    });
  }

  get address() {
    return this.#servers.address;
  }
  get adminAddress() {
    return this.#servers.adminAddress;
  }
  get redirectAddress() {
    return this.#servers.redirectAddress;
  }
  get configuration() {
    return this.#succession.current.configuration;
  }
  get openParts() {
    return this.#generations.openParts;
  }

  reload(configuration: Configuration): Promise<readonly string[]> {
    return this.#succession.reload(configuration);
  }

  reopenFiles(): void {
    this.#succession.reopenFiles();
  }

  stop(): Promise<void> {
    const whenUnused = () => this.#servers.front.use(this.#succession.current.front);
    return this.#succession.stop(() => this.#drain(), whenUnused);
  }

  async #drain(): Promise<void> {
    this.#servers.isReady = false;
    const { drainDelay, drainTimeout } = this.configuration;
    if (drainDelay > 0) await sleep(drainDelay);
    const { cut } = await this.#servers.drain(drainTimeout);
    if (cut > 0) this.#log.warn({ requests: cut }, 'requests cut: they did not finish in drainTimeout');
  }
}
