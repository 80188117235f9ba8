import { pino } from 'pino';
import type { Log, LogFields } from '../contracts/index.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** A log whose level can be changed while it is in use. */
export interface LeveledLog extends Log {
  level: string;
}

/** Structured logging: one JSON object a line. @param always what stands in each line */
export function createLog(
  level: LogLevel,
  stream: { write(line: string): void },
  always: LogFields | null = null,
): LeveledLog {
  return pino(
    {
      level,
      base: always,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'message',
    },
    stream,
  );
}
