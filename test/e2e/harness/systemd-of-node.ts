import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Systemd, UnitExistsError } from '../../../src/contracts/node.js';
import type { SystemdOptions } from '../../../src/systemd/systemd.js';
import { nodeOfNodes, type SystemdNode } from './systemd-node.js';

const driver = fileURLToPath(new URL('systemd-driver.ts', import.meta.url));
const loader = import.meta.resolve('tsx');

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/**
 * The D-Bus client of `src/systemd` as a program on the node: systemd talks only to processes whose id it can see.
 *
 * @throws an Error with what the program wrote where it cannot connect
 */
export async function openSystemdOf(node: SystemdNode, options: SystemdOptions): Promise<Systemd> {
  const args = ['--import', loader, driver, JSON.stringify(options)];
  const child = node.spawn(nodeOfNodes, args);
  const waiting = new Map<number, Waiting>();
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  child.on('close', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`the driver ended with ${code}: ${errors}`));
  });
  if (!child.stdin || !child.stdout) throw new Error('the driver has no streams');
  const { stdin, stdout } = child;
  stdin.on('error', () => undefined); // its end is told by `close`
  createInterface({ input: stdout }).on('line', (line) => {
    const { id, result, error } = JSON.parse(line) as AnswerLine;
    const waiter = waiting.get(id);
    waiting.delete(id);
    if (error)
      waiter?.reject(
        error.name === 'UnitExistsError' ? new UnitExistsError(error.message) : new Error(error.message),
      );
    else waiter?.resolve(result);
  });
  const answer = (id: number) =>
    new Promise<unknown>((resolve, reject) => waiting.set(id, { resolve, reject }));
  let last = 0;
  const ask = (method: keyof Systemd, argument?: unknown) => {
    last += 1;
    const answered = answer(last);
    stdin.write(`${JSON.stringify({ id: last, method, argument })}\n`);
    return answered;
  };
  await answer(0);
  return {
    unit: (name) => ask('unit', name) as ReturnType<Systemd['unit']>,
    reload: () => ask('reload') as Promise<void>,
    start: (name) => ask('start', name) as Promise<void>,
    stop: (name) => ask('stop', name) as Promise<void>,
    restart: (name) => ask('restart', name) as Promise<void>,
    startTransient: (service) => ask('startTransient', service) as Promise<void>,
    resetFailed: (name) => ask('resetFailed', name) as Promise<void>,
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      stdin.end();
      await once(child, 'close');
    },
  };
}

interface AnswerLine {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
}
