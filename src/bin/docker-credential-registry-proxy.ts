#!/usr/bin/env node
import { constants } from 'node:os';
import { runHelper } from './credential-helper/run.js';
import { HelperError } from './one-question/helper-error.js';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () =>
    stop.abort(new HelperError(`ended by ${signal}`, 128 + constants.signals[signal])),
  );
}

// Who asked may have gone, and nobody reads the answer: writing it finds out.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

const { text, code } = await runHelper(process.argv.slice(2), process, { stop });
// Whole, also where the reader is slow; and without waiting for a connection that nobody closed.
process.stdout.write(text === '' ? '' : `${text}\n`, (error) => process.exit(error ? 1 : code));
