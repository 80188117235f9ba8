// Loaded into a program before its own code (`node --import`): SIGUSR2 collects all garbage, so that what is left in the
// heap is what somebody holds.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
process.on('SIGUSR2', () => collect());
