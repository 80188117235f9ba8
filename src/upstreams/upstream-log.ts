import type { Log } from '../contracts/index.js';

/** A log whose every line names the upstream: two of them may share a host. */
export function upstreamLog(log: Log, upstream: string): Log {
  return {
    debug: (fields, message) => log.debug({ upstream, ...fields }, message),
    info: (fields, message) => log.info({ upstream, ...fields }, message),
    warn: (fields, message) => log.warn({ upstream, ...fields }, message),
    error: (fields, message) => log.error({ upstream, ...fields }, message),
  };
}
