// What `node --test` does with these files, in their order: Node's command line would sort them.
//
// node --import tsx scripts/run-tests.mjs FILE...
import { setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { run } from 'node:test';
import report from './test-reporter.mjs';

const files = process.argv.slice(2).map((file) => resolve(file));
// End-to-end tests wait for each other, one of them at a time: one more process keeps the machine busy meanwhile.
const concurrency = availableParallelism() + 1;
// The bound of one file, for Node's runner has none; real daemons are slow to start on a small machine.
const ending = new AbortController();
setMaxListeners(files.length + 10, ending.signal); // each file's process listens
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => ending.abort());
const events = run({ files, concurrency, timeout: 600_000, signal: ending.signal });
events.on('test:fail', () => {
  process.exitCode = 1;
});
events.compose(report).pipe(process.stdout);
