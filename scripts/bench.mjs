// npm run bench [-- --json] [RUNS [LOADS]]        see bench/data-path.ts
import { build, installPackages, requireNode } from './prepare.mjs';
import { runNode } from './run-node.mjs';

requireNode();
installPackages();
// What is measured is the built program, as users run it.
build();
process.env.TEST_BUILT = '1';
runNode(['--import', 'tsx', 'bench/data-path.ts', ...process.argv.slice(2)]);
