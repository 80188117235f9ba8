import type { LogLevel } from '../config/configuration.js';
import type { Log, LogFields } from '../contracts/index.js';
import { LogStream } from '../observability/log-stream.js';
import { createLog } from '../observability/pino-log.js';
import { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { exitCodes, fail } from './exit.js';
import { reasonOf, type Surroundings } from './opener.js';
import { type LoadConfiguration, Reloader, type Served, type WatchedConfiguration } from './reloader.js';
import { requireLoaded } from './require-loaded.js';
import { HangUps, stopSignal, stopWhenAsked } from './signals.js';
import { StoppedError } from './stopped-error.js';
import { version } from './version.js';

/** Milliseconds at the end for log lines that still wait. */
export const flushTime = 2000;

/** What every long-running program's configuration says. */
export interface ServedConfiguration extends WatchedConfiguration {
  readonly log: { readonly level: LogLevel };
}

/** What serves by a configuration. */
export interface RunningService<C extends ServedConfiguration> extends Served<C> {
  /** Opens anew the files it writes that may have been renamed. Never throws and never waits. */
  reopenFiles(): void;
  /** Lets what is in progress finish, up to the configured time, and closes everything. */
  stop(): Promise<void>;
}

export interface ServiceSurroundings extends Surroundings {
  readonly metrics: PrometheusMetrics;
  /** Where audit lines go that have no file. */
  readonly stdout: { write(line: string): void };
}

export interface ServiceParts<C extends ServedConfiguration, S extends RunningService<C>> {
  readonly load: LoadConfiguration<C>;
  /** @throws OpeningError or an Error with a one-line message, and StoppedError where `stop` came first */
  readonly start: (configuration: C, surroundings: ServiceSurroundings, stop: AbortSignal) => Promise<S>;
  /** What the line says that tells of the start, beside the versions. */
  readonly startFields: (service: S) => LogFields;
  /** Of the metrics' names. */
  readonly metricsPrefix: string;
}

/**
 * Serves until SIGTERM or SIGINT, and takes over what changes in the configuration meanwhile.
 *
 * @throws CommandFailure with all problems of the configuration
 */
export async function runService<C extends ServedConfiguration, S extends RunningService<C>>(
  file: string,
  { load, start, startFields, metricsPrefix }: ServiceParts<C, S>,
): Promise<void> {
  // First of all: until it is handled SIGHUP would end the process, and in a container SIGTERM would do nothing.
  const stop = stopSignal();
  const hangUps = new HangUps();
  const configuration = await requireLoaded(load, file);
  const { metrics, stream } = openOutput(metricsPrefix);
  const log = createLog(configuration.log.level, stream);
  const end = async () => {
    log.info({ event: 'stopped' }, 'stopped');
    await stream.flush(flushTime);
  };
  guardProcess(() => log);
  let service: S;
  try {
    service = await start(configuration, { clock: Date, log, metrics, stdout: stream }, stop);
  } catch (error) {
    if (error instanceof StoppedError) return end().then(() => process.exit(exitCodes.fine));
    await stream.flush(flushTime);
    return fail(`${configuration.file}: ${reasonOf(error)}`, exitCodes.usage);
  }
  log.info({ event: 'start', version, node: process.version, ...startFields(service) }, 'serving');
  const onApplied = (next: C) => {
    log.level = next.log.level;
  };
  const reloader = new Reloader({ served: service, load, log, metrics, onApplied });
  reloader.watch();
  hangUps.listen(() => {
    service.reopenFiles();
    void reloader.reload('signal');
  });
  const onStop = (signal: string) => {
    reloader.close();
    log.info({ event: 'stop', signal }, 'draining');
  };
  stopWhenAsked(service, stop, onStop, end);
}

/** Each call has a state of its own, and one that breaks in an event breaks alone: ending here would cut all others. */
export function guardProcess(log: () => Log): void {
  process.on('unhandledRejection', (error) => logBug(log(), error, 'a rejection nobody handled'));
  process.on('uncaughtException', (error) => logBug(log(), error, 'an error nobody caught'));
}

function logBug(log: Log, error: unknown, what: string): void {
  log.error({ stack: error instanceof Error ? error.stack : String(error) }, `${what}: a bug`);
}

/** Standard output, and a count of the lines that could not be written there. */
export function openOutput(metricsPrefix: string): {
  readonly metrics: PrometheusMetrics;
  readonly stream: LogStream;
} {
  const metrics = new PrometheusMetrics(metricsPrefix);
  const lost = metrics.counter('log_lines_lost_total', 'Log lines not written: dropped, or writing failed', [
    'how',
  ]);
  for (const how of ['dropped', 'failed']) lost.add({ how }, 0);
  const stream = new LogStream(1, (how, lines) => lost.add({ how }, lines));
  return { metrics, stream };
}
