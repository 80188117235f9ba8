import type { Configuration } from '../config/configuration.js';
import { loadConfiguration } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import { describeError } from '../errors.js';
import { createLog } from '../observability/pino-log.js';
import { PrometheusMetrics } from '../observability/prometheus-metrics.js';
import { exitCodes, fail } from './exit.js';
import { type RunningProxy, startProxy } from './running-proxy.js';

/** @returns the configuration; a bad one is told on standard error, and ends the process with code 2 */
export async function requireConfiguration(file: string): Promise<Configuration> {
  const loaded = await loadConfiguration(file);
  if ('configuration' in loaded) return loaded.configuration;
  return fail(loaded.problems.map(formatProblem).join('\n'), exitCodes.usage);
}

/** `docker-registry-proxy serve`: runs until SIGTERM or SIGINT. */
export async function serve(file: string): Promise<void> {
  const configuration = await requireConfiguration(file);
  const log = createLog(configuration.log.level);
  const metrics = new PrometheusMetrics();
  let proxy: RunningProxy;
  try {
    proxy = await startProxy(configuration, { clock: Date, log, metrics });
  } catch (error) {
    return fail(`${configuration.file}: ${describeError(error)}`, exitCodes.usage);
  }
  const { address, adminAddress } = proxy;
  log.info(
    {
      event: 'start',
      listen: `${address.address}:${address.port}`,
      externalUrl: configuration.externalUrl.origin,
      ...(adminAddress && { admin: `${adminAddress.address}:${adminAddress.port}` }),
    },
    'serving',
  );
  process.on('unhandledRejection', (error) => {
    log.error(
      { stack: error instanceof Error ? error.stack : String(error) },
      'a rejection nobody handled: a bug',
    );
  });
  stopOnSignal(proxy, (signal) => log.info({ event: 'stop', signal }, 'draining'));
}

/** The first signal drains, a second one ends at once. */
export function stopOnSignal(proxy: RunningProxy, onStop: (signal: string) => void): void {
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) process.exit(exitCodes.failed);
    stopping = true;
    onStop(signal);
    proxy.stop().then(
      () => process.exit(exitCodes.fine),
      () => process.exit(exitCodes.failed),
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}
