import type { Configuration } from '../config/configuration.js';
import { loadConfiguration } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import type { Log } from '../contracts/index.js';
import { describeError } from '../errors.js';
import { LogStream } from '../observability/log-stream.js';
import { createLog } from '../observability/pino-log.js';
import { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { exitCodes, fail } from './exit.js';
import { OpeningError } from './open-parts.js';
import { Reloader } from './reloader.js';
import { type RunningProxy, startProxy } from './running-proxy.js';
import { version } from './version.js';

/** Milliseconds: npm and process groups deliver one signal twice. */
const sameSignal = 1000;
/** Milliseconds at the end for log lines that still wait. */
const flushTime = 2000;

/** @returns the configuration; a bad one is told on standard error, and ends the process with code 2 */
export async function requireConfiguration(file: string): Promise<Configuration> {
  const loaded = await loadConfiguration(file);
  if ('configuration' in loaded) return loaded.configuration;
  return fail(loaded.problems.map(formatProblem).join('\n'), exitCodes.usage);
}

/** `docker-registry-proxy serve`: runs until SIGTERM or SIGINT. */
export async function serve(file: string): Promise<void> {
  const configuration = await requireConfiguration(file);
  const metrics = new PrometheusMetrics();
  const lost = metrics.counter('log_lines_lost_total', 'Log lines not written: dropped, or writing failed', [
    'how',
  ]);
  const stream = new LogStream(1, (how) => lost.add({ how }));
  const log = createLog(configuration.log.level, stream);
  let proxy: RunningProxy;
  try {
    proxy = await startProxy(configuration, { clock: Date, log, metrics });
  } catch (error) {
    await stream.flush(flushTime);
    // An OpeningError says it all in its message; its cause is for debuggers.
    const reason = error instanceof OpeningError ? error.message : describeError(error);
    return fail(`${configuration.file}: ${reason}`, exitCodes.usage);
  }
  logStart(log, configuration, proxy);
  process.on('unhandledRejection', (error) => {
    log.error(
      { stack: error instanceof Error ? error.stack : String(error) },
      'a rejection nobody handled: a bug',
    );
  });
  const reloader = new Reloader({
    proxy,
    log,
    metrics,
    onApplied: (next) => {
      log.level = next.log.level;
    },
  });
  const stopWatching = reloader.watch();
  process.on('SIGHUP', () => void reloader.reload('signal'));
  stopOnSignal(
    proxy,
    (signal) => {
      stopWatching();
      log.info({ event: 'stop', signal }, 'draining');
    },
    async () => {
      log.info({ event: 'stopped' }, 'stopped');
      await stream.flush(flushTime);
    },
  );
}

function logStart(log: Log, { externalUrl }: Configuration, { address, adminAddress }: RunningProxy): void {
  log.info(
    {
      event: 'start',
      version,
      node: process.version,
      listen: `${address.address}:${address.port}`,
      externalUrl: externalUrl.origin,
      ...(adminAddress && { admin: `${adminAddress.address}:${adminAddress.port}` }),
    },
    'serving',
  );
}

/** The first signal drains, one that comes later than its echo ends at once. */
export function stopOnSignal(
  proxy: { stop(): Promise<void> },
  onStop: (signal: string) => void,
  afterwards: () => Promise<void>,
): void {
  let stoppingSince: number | undefined;
  const stop = (signal: string) => {
    if (stoppingSince !== undefined) {
      if (Date.now() - stoppingSince > sameSignal) process.exit(exitCodes.failed);
      return;
    }
    stoppingSince = Date.now();
    onStop(signal);
    proxy
      .stop()
      .then(afterwards)
      .then(
        () => process.exit(exitCodes.fine),
        () => process.exit(exitCodes.failed),
      );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}
