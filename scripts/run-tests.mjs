// What `node --test` does with these files, in their order: Node's command line would sort them.
//
// node --import tsx scripts/run-tests.mjs FILE...
import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { relative, resolve } from 'node:path';
import { run } from 'node:test';
import { merged } from './merged-runs.mjs';
import { root } from './prepare.mjs';
import report from './test-reporter.mjs';

/** Real daemons next to each other make a small machine too slow for their own timeouts. */
const needsMachine = (file) => isEndToEnd(file) && /\bopenWorkspace\(\)/.test(readFileSync(file, 'utf8'));
const isEndToEnd = (file) => relative(root, file).startsWith('test/e2e/');
const isWaiting = (file) => isEndToEnd(file) && !needsMachine(file);

const files = process.argv.slice(2).map((file) => resolve(file));
// Side by side, so that nobody waits in a queue while others could have the machine.
const lanes = [
  { files: files.filter(needsMachine), concurrency: 1 },
  { files: files.filter(isWaiting), concurrency: 2 },
  { files: files.filter((file) => !isEndToEnd(file)), concurrency: availableParallelism() },
].filter((lane) => lane.files.length > 0);

// The bound of one file, for Node's runner has none; real daemons are slow to start on a small machine.
const timeout = 900_000;
const ending = new AbortController();
setMaxListeners(files.length + 10, ending.signal); // each file's process listens
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => ending.abort());
const runs = lanes.map((lane) => run({ ...lane, timeout, signal: ending.signal }));
for (const events of runs) {
  events.on('test:fail', () => {
    process.exitCode = 1;
  });
}
merged(runs).compose(report).pipe(process.stdout);
