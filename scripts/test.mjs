// npm test                          all tests
// npm test -- src/reference         those whose path contains it; options go to `node --test`
//
// REQUIRE_PROGRAMS=1 makes a missing program a failure, and every skipped test that no reason excuses.
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { build, installPackages, requireNode, root } from './prepare.mjs';
import { runNode } from './run-node.mjs';

requireNode();
installPackages();

const args = process.argv.slice(2);
const options = args.filter((arg) => arg.startsWith('-'));
const filters = args.filter((arg) => !arg.startsWith('-')).map((arg) => arg.replace(/^\.\//, ''));

// Listed here, because Node 20 knows no glob patterns.
const files = ['src', 'test']
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
  .map((entry) => relative(root, join(entry.parentPath, entry.name)))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .sort();

if (files.length === 0) {
  console.error(`No test file's path contains ${filters.join(' or ')}.`);
  process.exit(2);
}

// The end-to-end tests run the built program, as users do.
if (files.some((file) => file.startsWith('test/e2e/'))) {
  build();
  process.env.TEST_BUILT = '1';
}

if (options.length === 0) {
  runNode(['--import', 'tsx', 'scripts/run-tests.mjs', ...files]);
} else {
  runTests();
}

function runTests() {
  runNode([
    '--import',
    'tsx',
    '--test',
    // The bound of one file, for Node's runner has none; real daemons are slow to start on a small machine.
    '--test-timeout=900000',
    `--test-concurrency=${availableParallelism()}`,
    '--test-reporter=./scripts/test-reporter.mjs',
    '--test-reporter-destination=stdout',
    ...options,
    ...files,
  ]);
}
