import type { Log, LogFields } from '../../contracts/index.js';

export interface LogNames {
  readonly program: string;
  /** Of the environment. Set to anything: what is worth a line of `debug` or `info` is written too. */
  readonly variable: string;
}

/**
 * Lines on standard error, which docker and kubelet pass on: warnings and worse. Standard output is the protocol's.
 */
export function stderrLog(
  environment: NodeJS.ProcessEnv,
  stream: { write(line: string): unknown },
  { program, variable }: LogNames,
): Log {
  const write = (level: string) => (fields: LogFields, message: string) => {
    const more = Object.keys(fields).length === 0 ? '' : ` ${JSON.stringify(fields)}`;
    stream.write(`${program}: ${level}: ${message}${more}\n`);
  };
  const nothing = () => {};
  const all = (environment[variable] ?? '') !== '';
  return {
    debug: all ? write('debug') : nothing,
    info: all ? write('info') : nothing,
    warn: write('warning'),
    error: write('error'),
  };
}
