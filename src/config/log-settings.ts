import { z } from 'zod';
import { writtenFile } from '../settings/file-path.js';

/** `log`, of every program that serves. */
export function logSettings() {
  return z
    .strictObject({
      level: z
        .enum(['debug', 'info', 'warn', 'error'])
        .default('info')
        .describe('The least that is written, as JSON lines on standard output.'),
    })
    .prefault({})
    .describe('Logging.');
}

/** `audit`. @param what it writes, a sentence */
export function auditSettings(what: string) {
  return z
    .strictObject({
      file: writtenFile()
        .optional()
        .describe('Where to; without it standard output. Opened anew after it was renamed, and on SIGHUP.'),
    })
    .optional()
    .describe(what);
}
