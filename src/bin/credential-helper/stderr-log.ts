import type { Log, LogFields, Metrics } from '../../contracts/index.js';

/** Set to anything: what is worth a line of `debug` or `info` is written too. */
export const debugVariable = 'DOCKER_CREDENTIAL_REGISTRY_PROXY_DEBUG';

/**
 * Lines on standard error, which docker passes on to whoever sits before it: warnings and worse. Standard output is the
 * protocol's.
 */
export function stderrLog(environment: NodeJS.ProcessEnv, stream: { write(line: string): unknown }): Log {
  const write = (level: string) => (fields: LogFields, message: string) => {
    const more = Object.keys(fields).length === 0 ? '' : ` ${JSON.stringify(fields)}`;
    stream.write(`docker-credential-registry-proxy: ${level}: ${message}${more}\n`);
  };
  const nothing = () => {};
  const all = (environment[debugVariable] ?? '') !== '';
  return {
    debug: all ? write('debug') : nothing,
    info: all ? write('info') : nothing,
    warn: write('warning'),
    error: write('error'),
  };
}

/** A process of one question has nobody who would read its metrics. */
export const noMetrics: Metrics = {
  counter: () => ({ add: () => {} }),
  gauge: () => ({ set: () => {}, follow: () => () => {} }),
  histogram: () => ({ observe: () => {} }),
};
