import { pino } from 'pino';
import type { Log } from '../contracts/index.js';

/** One JSON object a line. @param destination a file descriptor: 1 is standard output */
export function createLog(level: 'debug' | 'info' | 'warn' | 'error', destination = 1): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'message',
    },
    pino.destination({ dest: destination, sync: true }),
  );
}
