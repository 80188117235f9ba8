import type { Configuration } from '../config/configuration.js';
import { loadConfiguration } from '../config/load.js';
import { requireLoaded } from './require-loaded.js';
import { runService } from './run-service.js';
import { type RunningProxy, startProxy } from './running-proxy.js';

/** @throws CommandFailure with all problems of the configuration, a line each */
export function requireConfiguration(file: string): Promise<Configuration> {
  return requireLoaded(loadConfiguration, file);
}

/** `docker-registry-proxy serve`: runs until SIGTERM or SIGINT. */
export function serve(file: string): Promise<void> {
  return runService(file, {
    load: loadConfiguration,
    start: startProxy,
    startFields,
    metricsPrefix: 'registry_proxy_',
  });
}

function startFields({ address, adminAddress, redirectAddress, configuration }: RunningProxy) {
  return {
    listen: `${address.address}:${address.port}`,
    externalUrl: configuration.externalUrl.origin,
    ...(adminAddress && { admin: `${adminAddress.address}:${adminAddress.port}` }),
    ...(redirectAddress && { redirectFrom: `${redirectAddress.address}:${redirectAddress.port}` }),
  };
}
