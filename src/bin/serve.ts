import cluster from 'node:cluster';
import type { Configuration } from '../config/configuration.js';
import { loadConfiguration } from '../config/load.js';
import { requireLoaded } from './require-loaded.js';
import { runService } from './run-service.js';
import { type RunningProxy, startProxy } from './running-proxy.js';
import { startWorkers } from './workers/primary.js';
import { runWorker } from './workers/worker.js';

/** @throws CommandFailure with all problems of the configuration, a line each */
export function requireConfiguration(file: string): Promise<Configuration> {
  return requireLoaded(loadConfiguration, file);
}

/** `docker-registry-proxy serve`: runs until SIGTERM or SIGINT. */
export function serve(file: string): Promise<void> {
  if (cluster.isWorker) return runWorker(file);
  return runService<Configuration, Serving>(file, {
    load: loadConfiguration,
    start: (configuration, surroundings, stop) =>
      configuration.workers > 1
        ? startWorkers(configuration, surroundings, stop)
        : startProxy(configuration, surroundings, stop),
    startFields,
    metricsPrefix: 'registry_proxy_',
  });
}

/** Of one process or of several. */
type Serving = Omit<RunningProxy, 'openParts'>;

function startFields({ address, adminAddress, redirectAddress, configuration }: Serving) {
  return {
    listen: `${address.address}:${address.port}`,
    externalUrl: configuration.externalUrl.origin,
    ...(adminAddress && { admin: `${adminAddress.address}:${adminAddress.port}` }),
    ...(configuration.workers > 1 && { workers: configuration.workers }),
    ...(redirectAddress && { redirectFrom: `${redirectAddress.address}:${redirectAddress.port}` }),
  };
}
