import type { AddressInfo } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { ServedImageConfiguration } from '../../config/image-service/configuration.js';
import { isMapping } from '../../config/mapping.js';
import { formatProblem } from '../../config/problem.js';
import type { Log } from '../../contracts/log.js';
import type { NodeRuntime } from '../../contracts/runtime.js';
import { GrpcServer } from '../../grpc/grpc-server.js';
import { PullRegister } from '../../image-service/pull-register.js';
import { GenerationSuccession } from '../generation-succession.js';
import { Opener } from '../opener.js';
import type { RunningService, ServiceSurroundings } from '../run-service.js';
import { StoppedError } from '../stopped-error.js';
import { version } from '../version.js';
import { AdminServers } from './admin-servers.js';
import { fileWarnings } from './file-warnings.js';
import { type ImageServiceGeneration, ImageServiceGenerations } from './generation.js';
import { RuntimeHealth } from './runtime-health.js';
import { ruleReport, type ServiceReport } from './service-report.js';

/** An image service that is serving. */
export interface RunningImageService extends RunningService<ServedImageConfiguration> {
  /** Of the socket for kubelet; absent where it was handed over and its path is not known. */
  readonly socket: string | undefined;
  readonly adminAddress: AddressInfo | undefined;
  /** What `/pulls` says. */
  report(): Promise<ServiceReport>;
}

/** What the command line says of how it starts. */
export interface StartOptions {
  /** Gives up before it listens. */
  readonly stop?: AbortSignal;
  /** Takes the sockets' paths from another instance that listens there. */
  readonly replace?: boolean;
}

/**
 * Opens everything a configuration names, and only then listens. The container runtime need not be there.
 *
 * @throws OpeningError or an Error with a one-line message, and StoppedError; nothing is left open then
 */
export async function startImageService(
  configuration: ServedImageConfiguration,
  surroundings: ServiceSurroundings,
  { stop, replace = false }: StartOptions = {},
): Promise<RunningImageService> {
  const opener = new Opener(configuration, surroundings);
  const closing: (() => Promise<unknown>)[] = [() => opener.close()];
  try {
    const { part: runtime } = await opener.open('runtime', 'runtime', configuration.runtime, {});
    const register = new PullRegister(surroundings);
    const generations = new ImageServiceGenerations(surroundings, { runtime, register });
    const generation = await generations.open(configuration);
    closing.push(() => generation.close());
    if (stop?.aborted) throw new StoppedError();
    const { listen: address, socketMode: mode, directoryMode } = configuration;
    const { log, metrics } = surroundings;
    const socket = { address, mode, directoryMode, replace };
    const server = await GrpcServer.open({ socket, front: generation.front, log, metrics });
    closing.push(() => server.close());
    const service = new ServingImageService({
      surroundings,
      opener,
      runtime,
      register,
      generations,
      generation,
      server,
    });
    await service.openAdmin(replace);
    generation.keepReady();
    await tellFileWarnings(configuration, log);
    return service;
  } catch (error) {
    for (const close of closing.reverse()) await close();
    throw error;
  }
}

/** One line at the start; `check` tells the same. */
async function tellFileWarnings(configuration: ServedImageConfiguration, log: Log): Promise<void> {
  const warnings = await fileWarnings(configuration);
  if (warnings.length === 0) return;
  const told = warnings.map(({ setting, message }) =>
    formatProblem({ ...configuration.placeOf(setting), message }),
  );
  log.warn({ event: 'start', warnings: told }, 'others may write or read files that they should not');
}

interface ServingParts {
  readonly surroundings: ServiceSurroundings;
  /** Of the runtime. */
  readonly opener: Opener;
  readonly runtime: NodeRuntime;
  readonly register: PullRegister;
  readonly generations: ImageServiceGenerations;
  readonly generation: ImageServiceGeneration;
  readonly server: GrpcServer;
}

class ServingImageService implements RunningImageService {
  readonly #parts: ServingParts;
  readonly #health: RuntimeHealth;
  readonly #startedAt: string;
  readonly #succession: GenerationSuccession<ServedImageConfiguration, ImageServiceGeneration>;
  #admin: AdminServers | undefined;
  #stopped: Promise<void> | undefined;

  constructor(parts: ServingParts) {
    const { generations, generation, server, surroundings } = parts;
    this.#parts = parts;
    this.#health = new RuntimeHealth(parts.runtime, surroundings);
    this.#succession = new GenerationSuccession(generation, {
      open: (configuration) => generations.open(configuration),
      adjust: (configuration) => settingsOfRestart(generation.configuration, configuration),
      use: ({ front }) => server.use(front),
      metrics: surroundings.metrics,
    });
    this.#startedAt = new Date(surroundings.clock.now()).toISOString();
  }

  get configuration() {
    return this.#succession.current.configuration;
  }
  get socket() {
    return this.#parts.server.path;
  }
  get adminAddress() {
    return this.#admin?.address;
  }

  /** @throws an Error with a one-line message */
  async openAdmin(replace: boolean): Promise<void> {
    this.#admin = await AdminServers.open(this.configuration, this.#parts.surroundings, {
      unready: () => this.#unready(),
      beforeMetrics: () => this.#health.isConnected(),
      report: () => this.report(),
      replace,
    });
    this.#health.watch();
  }

  async report(): Promise<ServiceReport> {
    const { runtime, register, generation } = this.#parts;
    const { type } = generation.configuration.runtime.driver;
    const connected = await this.#health.isConnected();
    const problem = await this.#health.problem();
    return {
      program: 'kubelet-image-service',
      version,
      startedAt: this.#startedAt,
      runtime: {
        type,
        ...(runtime.kind === 'cri' && { endpoint: runtime.endpoint }),
        connected,
        ...(problem !== undefined && { problem }),
      },
      rules: this.#succession.current.rules.map(ruleReport),
      ...register.snapshot(),
    };
  }

  reload(configuration: ServedImageConfiguration): Promise<readonly string[]> {
    return this.#succession.reload(configuration);
  }

  reopenFiles(): void {
    this.#succession.reopenFiles();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #unready(): Promise<string | undefined> {
    if (this.#succession.isStopping) return 'draining';
    return this.#health.problem();
  }

  async #stop(): Promise<void> {
    const { register, opener } = this.#parts;
    this.#health.close();
    await this.#succession.stop(
      () => this.#drain(),
      () => register.whenIdle(),
    );
    await opener.close();
    await this.#admin?.close(); // the last one: it tells that we are not ready any more
  }

  async #drain(): Promise<void> {
    const { server, register, surroundings } = this.#parts;
    const { cut } = await server.drain(this.configuration.drainTimeout, register.whenIdle());
    if (cut > 0) surroundings.log.warn({ calls: cut }, 'calls cut: they did not finish in drainTimeout');
  }
}

/** The settings of what stays open over reloads that another configuration has differently. */
function settingsOfRestart(
  opened: ServedImageConfiguration,
  next: ServedImageConfiguration,
): readonly string[] {
  const settings: readonly (readonly [string, (one: ServedImageConfiguration) => unknown])[] = [
    ['listen', ({ listen }) => listen],
    ['socketMode', ({ socketMode }) => socketMode],
    ['directoryMode', ({ directoryMode }) => directoryMode],
    ['runtime', runtimeOf],
    ['admin', ({ admin }) => admin],
  ];
  return settings
    .filter(([, of]) => !isDeepStrictEqual(of(opened), of(next)))
    .filter(
      ([name]) => !isDeepStrictEqual(writtenIn(opened, name), writtenIn(next, name)) || name === 'runtime',
    )
    .map(([name]) => name);
}

/** What is not written follows something else that is: the socket for operators stands beside that for kubelet. */
function writtenIn({ raw }: ServedImageConfiguration, name: string): unknown {
  return isMapping(raw) ? raw[name] : undefined;
}

function runtimeOf({ runtime, namedFiles }: ServedImageConfiguration): unknown {
  const files = namedFiles.filter(({ setting }) => setting.startsWith('runtime.'));
  return [runtime.raw, files.map(({ digest }) => digest)];
}
