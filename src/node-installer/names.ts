import { mergedProviders } from './own-files.js';

/** Transient; its name is the lock of all installers of a node. */
export const installUnit = 'kubelet-image-service-install.service';
/** Transient; started by a timer where an installer does not end in time. */
export const rollbackUnit = 'kubelet-image-service-rollback.service';
export const rollbackTimer = 'kubelet-image-service-rollback.timer';

/** The guard's memory of its restarts; gone after a reboot, as everything below /run. */
export const guardStateFile = '/run/kubelet-image-service-guard/state.json';

/** `unix:///path` of a socket that may be written so already. */
export function endpointOf(socket: string): string {
  return socket.startsWith('unix://') ? socket : `unix://${socket}`;
}

/** By what a command line shows that kubelet was started with ours. */
export function flagOf({ mode, socket }: { readonly mode: string; readonly socket: string }): string {
  return mode === 'credential-provider'
    ? `--image-credential-provider-config=${mergedProviders.config}`
    : `--image-service-endpoint=${endpointOf(socket)}`;
}
