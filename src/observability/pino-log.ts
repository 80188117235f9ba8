import { pino } from 'pino';
import type { Log } from '../contracts/index.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** A log whose level can be changed while it is in use. */
export interface LeveledLog extends Log {
  level: string;
}

/** Structured logging: one JSON object a line. */
export function createLog(level: LogLevel, stream: { write(line: string): void }): LeveledLog {
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
