import { setFlagsFromString } from 'node:v8';
import type { AllowedCode } from '../../config/image-service/allowed-code.js';
import { loadServedImageConfiguration } from '../../config/image-service/load.js';
import { printSocketAddress } from '../../settings/socket-address.js';
import { runService } from '../run-service.js';
import { type RunningImageService, startImageService } from './running-image-service.js';

export interface ServeOptions {
  readonly config: string;
  /** What of a configuration may run code beside the program's own. */
  readonly allow: AllowedCode;
  readonly replace: boolean;
}

/** `kubelet-image-service serve`: runs until SIGTERM or SIGINT. */
export function serveImageService({ config, allow, replace }: ServeOptions): Promise<void> {
  // Node would let young objects take up to 48 MiB before it looks which are still needed. A node has better use for it.
  setFlagsFromString('--semi-space-growth-factor=1');
  return runService(config, {
    load: (file) => loadServedImageConfiguration(file, allow),
    start: (configuration, surroundings, stop) =>
      startImageService(configuration, surroundings, { stop, replace }),
    startFields,
    metricsPrefix: 'kubelet_image_service_',
  });
}

function startFields({ socket, adminAddress, configuration }: RunningImageService) {
  const { listen, runtime, admin, images } = configuration;
  return {
    listen: socket === undefined ? printSocketAddress(listen) : `unix://${socket}`,
    adminSocket: printSocketAddress(admin.socket),
    ...(adminAddress && { admin: `${adminAddress.address}:${adminAddress.port}` }),
    runtime: runtime.driver.type,
    rules: images.length,
  };
}
