import { createInterface } from 'node:readline';
import { openSystemd } from '../../../src/systemd/systemd.js';

// Runs on a node: a line of JSON on standard input is a call of `Systemd`, one on standard output its answer.

interface Asked {
  readonly id: number;
  readonly method: 'unit' | 'reload' | 'start' | 'stop' | 'restart' | 'startTransient' | 'resetFailed';
  readonly argument?: unknown;
}

const systemd = await openSystemd(JSON.parse(process.argv[2] ?? ''));
console.log(JSON.stringify({ id: 0 }));
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, argument } = JSON.parse(line) as Asked;
  // Not awaited: several may be under way.
  void (systemd[method] as (given: unknown) => Promise<unknown>)
    .call(systemd, argument)
    .then((result) => ({ id, result }))
    .catch((error: Error) => ({ id, error: { name: error.name, message: error.message } }))
    .then((answer) => console.log(JSON.stringify(answer)));
}
await systemd.close();
