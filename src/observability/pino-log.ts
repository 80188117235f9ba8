import { pino } from 'pino';
import type { Log } from '../contracts/index.js';

/** Bytes that wait for a slow reader; what comes beyond is dropped. A log must never stop the proxy. */
const maxWaiting = 8 * 1024 * 1024;
/** Milliseconds at the end for what still waits. */
const flushTime = 2000;

export interface LogOutput {
  readonly log: Log;
  /** Writes what waits, as far as the reader takes it. Never rejects. */
  flush(): Promise<void>;
}

/**
 * One JSON object a line. A full disk or a reader that does not read costs lines, not requests.
 *
 * @param destination a file descriptor: 1 is standard output
 * @param onLoss called for each line that was dropped, and each time writing failed
 */
export function openLog(
  level: 'debug' | 'info' | 'warn' | 'error',
  destination: number,
  onLoss: (loss: 'dropped' | 'failed') => void = () => undefined,
): LogOutput {
  const stream = pino.destination({ dest: destination, sync: false, maxLength: maxWaiting });
  stream.on('drop', () => onLoss('dropped'));
  stream.on('error', () => onLoss('failed'));
  const flush = () =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, flushTime);
      stream.flush(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  return { log: createLog(level, stream), flush };
}

/** The lines of a log, to any stream. */
export function createLog(level: string, stream: { write(line: string): void }): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'message',
    },
    stream,
  );
}
