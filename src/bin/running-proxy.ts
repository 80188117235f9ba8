import { setTimeout as sleep } from 'node:timers/promises';
import type { Configuration } from '../config/configuration.js';
import type { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { type Generation, type GenerationSurroundings, Generations } from './generation.js';
import { type BoundAddress, Servers } from './servers.js';

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

export type ProxySurroundings = GenerationSurroundings & { readonly metrics: PrometheusMetrics };

/** Nothing is begun any more: the proxy was asked to stop. */
export class StoppedError extends Error {
  override readonly name = 'StoppedError';

  constructor() {
    super('the proxy stops');
  }
}

/** Milliseconds at the end for whoever was cut to let go of what he holds. */
const letGoTime = 2_000;

/**
 * Opens everything a configuration names, and only then listens: nobody is served with half of it.
 *
 * @param stop gives up before it listens
 * @throws OpeningError or an Error with a one-line message, and StoppedError; nothing is left open then
 */
export async function startProxy(
  configuration: Configuration,
  surroundings: ProxySurroundings,
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
  readonly #surroundings: ProxySurroundings;
  readonly #inUse: ReturnType<ProxySurroundings['metrics']['gauge']>;
  /** Earlier generations that requests still need, and when they do not any more. */
  readonly #retiring = new Map<Generation, Promise<void>>();
  #generation: Generation;
  #reloading: Promise<unknown> = Promise.resolve();
  #stopped: Promise<void> | undefined;

  constructor(
    generations: Generations,
    generation: Generation,
    servers: Servers,
    surroundings: ProxySurroundings,
  ) {
    this.#generations = generations;
    this.#generation = generation;
    this.#servers = servers;
    this.#surroundings = surroundings;
    this.#inUse = surroundings.metrics.gauge(
      'configurations_in_use',
      'The configuration that is served, and earlier ones that requests under way still need',
    );
    this.#countInUse();
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
    return this.#generation.configuration;
  }
  get openParts() {
    return this.#generations.openParts;
  }

  reload(configuration: Configuration): Promise<readonly string[]> {
    const reload = this.#reload(configuration);
    this.#reloading = reload.catch(() => undefined);
    return reload;
  }

  reopenFiles(): void {
    for (const generation of [this.#generation, ...this.#retiring.keys()]) generation.reopenFiles();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #reload(configuration: Configuration): Promise<readonly string[]> {
    this.#refuseWhenStopping();
    const next = await this.#generations.open(configuration);
    let later: readonly string[];
    try {
      this.#refuseWhenStopping();
      later = await this.#servers.adjust(configuration);
      this.#refuseWhenStopping();
    } catch (error) {
      await next.close();
      throw error;
    }
    this.#retire(this.#generation, this.#servers.front.use(next.front));
    this.#generation = next;
    next.keepReady();
    return later;
  }

  #refuseWhenStopping(): void {
    if (this.#stopped !== undefined) throw new StoppedError();
  }

  #retire(earlier: Generation, unused: Promise<void>): void {
    const retired = unused
      .then(() => earlier.close())
      .then(() => {
        this.#retiring.delete(earlier);
        this.#countInUse();
      });
    this.#retiring.set(earlier, retired);
    this.#countInUse();
  }

  #countInUse(): void {
    this.#inUse.set({}, 1 + this.#retiring.size);
  }

  async #stop(): Promise<void> {
    this.#servers.isReady = false;
    const { drainDelay, drainTimeout } = this.#generation.configuration;
    if (drainDelay > 0) await sleep(drainDelay);
    const { cut } = await this.#servers.drain(drainTimeout);
    if (cut > 0) {
      this.#surroundings.log.warn({ requests: cut }, 'requests cut: they did not finish in drainTimeout');
    }
    await this.#lettingGo();
    for (const generation of [...this.#retiring.keys(), this.#generation]) await generation.close();
  }

  /** A reload that was begun closes what it opened, and what was cut still writes its lines into the logs. */
  async #lettingGo(): Promise<void> {
    const over = new AbortController();
    const unused = this.#servers.front.use(this.#generation.front);
    const late = sleep(letGoTime, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([Promise.all([this.#reloading, unused, ...this.#retiring.values()]), late]);
    over.abort();
  }
}
