import { pino } from 'pino';
import type { Log } from '../contracts/index.js';

/** Structured logging: one JSON object a line. */
export function createLog(
  level: 'debug' | 'info' | 'warn' | 'error',
  stream: { write(line: string): void },
): Log {
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
