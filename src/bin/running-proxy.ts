import { setTimeout as sleep } from 'node:timers/promises';
import type { Configuration } from '../config/configuration.js';
import { adminHandler } from '../http/admin.js';
import { FrontServer } from '../http/front-server.js';
import { Listener } from '../http/listener.js';
import type { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { type Generation, Generations } from './generation.js';
import type { Surroundings } from './open-parts.js';
import { TlsFiles } from './tls-files.js';

/** A proxy that is serving. */
export interface RunningProxy {
  /** Where it listens; the port is known even where the configuration says 0. */
  readonly address: { readonly address: string; readonly port: number };
  readonly adminAddress: { readonly address: string; readonly port: number } | undefined;
  /** What it serves now. */
  readonly configuration: Configuration;
  /**
   * Serves another configuration from the next request on; what is under way ends with the earlier one. Settings that
   * need a restart are left as they are. One call at a time.
   *
   * @throws OpeningError or an Error with a one-line message; the earlier configuration stays then
   */
  reload(configuration: Configuration): Promise<void>;
  /** Lets requests in progress finish, up to the configured time, and closes everything. */
  stop(): Promise<void>;
}

export type ProxySurroundings = Surroundings & { readonly metrics: PrometheusMetrics };

/**
 * Opens everything a configuration names, and only then listens: nobody is served with half of it.
 *
 * @throws OpeningError or an Error with a one-line message; nothing is left open then
 */
export async function startProxy(
  configuration: Configuration,
  surroundings: ProxySurroundings,
): Promise<RunningProxy> {
  const generations = new Generations(surroundings);
  const generation = await generations.open(configuration);
  const servers = new Servers(generation, surroundings);
  try {
    await servers.open();
  } catch (error) {
    await servers.drain(0);
    await generation.close();
    throw error;
  }
  return new ServingProxy(generations, generation, servers, surroundings);
}

class ServingProxy implements RunningProxy {
  readonly #generations: Generations;
  readonly #servers: Servers;
  readonly #surroundings: ProxySurroundings;
  /** Earlier generations that requests still need. */
  readonly #retiring = new Set<Promise<void>>();
  #generation: Generation;
  #isStopping = false;

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
  }

  get address() {
    return this.#servers.address;
  }
  get adminAddress() {
    return this.#servers.adminAddress;
  }
  get configuration() {
    return this.#generation.configuration;
  }

  async reload(configuration: Configuration): Promise<void> {
    if (this.#isStopping) return;
    const next = await this.#generations.open(configuration);
    try {
      await this.#servers.adjust(configuration);
    } catch (error) {
      await next.close();
      throw error;
    }
    const earlier = this.#generation;
    this.#generation = next;
    const retired = this.#servers.front.use(next.front).then(() => earlier.close());
    this.#retiring.add(retired);
    void retired.finally(() => this.#retiring.delete(retired));
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const { drainDelay, drainTimeout } = this.#generation.configuration;
    this.#servers.isReady = false;
    if (drainDelay > 0) await sleep(drainDelay);
    const { cut } = await this.#servers.drain(drainTimeout);
    if (cut > 0) {
      this.#surroundings.log.warn({ requests: cut }, 'requests cut: they did not finish in drainTimeout');
    }
    await Promise.all(this.#retiring);
    await this.#generation.close();
  }
}

/** The sockets. They stay over reloads. */
class Servers {
  readonly front: FrontServer;
  /** What `/readyz` says. */
  isReady = false;
  readonly #configuration: Configuration;
  readonly #surroundings: ProxySurroundings;
  #listener: Listener | undefined;
  #admin: Listener | undefined;
  #tls: TlsFiles | undefined;

  constructor({ configuration, front }: Generation, surroundings: ProxySurroundings) {
    this.#configuration = configuration;
    this.#surroundings = surroundings;
    this.front = new FrontServer(front, surroundings);
  }

  get address() {
    return (this.#listener as Listener).address;
  }
  get adminAddress() {
    return this.#admin?.address;
  }

  /** The front last: when a client can connect all is there. */
  async open(): Promise<void> {
    const { listen, admin, tls, baseDirectory } = this.#configuration;
    this.#tls = tls && (await TlsFiles.open(tls, baseDirectory));
    if (admin) {
      const handle = adminHandler({ metrics: this.#surroundings.metrics, isReady: () => this.isReady });
      this.#admin = await Listener.open({ ...admin.listen, handle });
    }
    this.#listener = await Listener.open({
      ...listen,
      ...(this.#tls && { tls: this.#tls.pair }),
      handle: this.front.handle,
    });
    this.isReady = true;
  }

  /** Takes what open sockets can take of another configuration. @throws an Error; nothing was changed then */
  async adjust({ tls, baseDirectory }: Configuration): Promise<void> {
    if (this.#tls === undefined || tls === undefined) return;
    const files = await TlsFiles.open(tls, baseDirectory);
    const isSame =
      files.pair.certificate === this.#tls.pair.certificate && files.pair.key === this.#tls.pair.key;
    if (!isSame) this.#listener?.replaceCertificate(files.pair);
    this.#tls = files;
  }

  /** The admin server last: it tells that we are not ready any more. */
  async drain(timeout: number): Promise<{ cut: number }> {
    const cut = await this.#listener?.drain(timeout);
    await this.#admin?.drain(Math.min(timeout, 1000));
    return cut ?? { cut: 0 };
  }
}
