import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { until } from './grpc-server-client.test.js';

// For the tests of sockets: another process that has one.

export interface ChildOptions {
  /** Becomes the child's file descriptor 3. */
  readonly fd?: number;
  readonly environment?: NodeJS.ProcessEnv;
  /** What runs the child, with its arguments. Default: nothing. */
  readonly runBy?: readonly string[];
}

export interface Child {
  readonly child: ChildProcess;
  /** What it has printed. */
  readonly text: () => string;
  readonly hasPrinted: (text: string) => Promise<void>;
}

/** Runs code that may use `UnixSocket`, `createServer` of net, `log` and `none`, which does nothing. */
export function startChild(t: TestContext, code: string, o: ChildOptions = {}): Child {
  const module = JSON.stringify(new URL('./unix-socket.ts', import.meta.url).href);
  const log = `const none = () => {}; const log = { debug: none, info: none, error: none,
    warn: (fields, message) => console.log('warning: ' + JSON.stringify(fields) + ' ' + message) };`;
  const script = `import { createServer } from 'node:net'; import { UnixSocket } from ${module}; ${log} ${code}`;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', script];
  const [program = '', ...args] = [...(o.runBy ?? []), ...node];
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe', o.fd ?? 'ignore'],
    env: { ...process.env, ...o.environment },
  });
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (piece: Buffer) => {
      text += piece;
    });
  }
  const closed = once(child, 'close');
  const hasPrinted = async (wanted: string) => {
    await Promise.race([until(`the child prints ${wanted}`, () => text.includes(wanted)), closed]);
    if (!text.includes(wanted)) throw new Error(`the child ended after printing ${text}`);
  };
  return { child, text: () => text, hasPrinted };
}

/** The same, and waits until it has printed `ready`. */
export async function runChild(t: TestContext, code: string, o: ChildOptions = {}): Promise<Child> {
  const child = startChild(t, code, o);
  await child.hasPrinted('ready');
  return child;
}
