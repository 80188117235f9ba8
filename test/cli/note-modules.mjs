// Preloaded by NODE_OPTIONS: writes what the program loads, a URL a line, to the file that NOTED_MODULES names.
import { appendFileSync } from 'node:fs';
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) register(import.meta.url);

export async function load(url, context, next) {
  appendFileSync(process.env.NOTED_MODULES, `${url}\n`);
  return next(url, context);
}
