import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Scope } from '../harness/index.js';

type Line = Readonly<Record<string, unknown>>;

/** `docker-registry-proxy serve`, or that of another program of ours, as a process of its own. */
export class Serving {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #stdout = '';
  stderr = '';

  /** Killed at the end of the scope where it runs then. */
  constructor(
    scope: Scope,
    file: string,
    env = process.env,
    name = 'docker-registry-proxy',
    more: readonly string[] = [],
  ) {
    const program = fileURLToPath(new URL(`../../src/bin/${name}.ts`, import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', program, 'serve', '--config', file, ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#child = child;
    this.#ended = once(child, 'close');
    scope.after(async () => {
      if (this.isRunning) child.kill('SIGKILL');
      await this.#ended;
    });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** All that was logged. */
  lines(): readonly Line[] {
    return this.#stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  }

  /** Waits for a line. @throws where it ended without one, or none came in a minute */
  async line(match: (line: Line) => boolean): Promise<Line> {
    for (let i = 0; i < 6000; i++) {
      const found = this.lines().find(match);
      if (found !== undefined) return found;
      if (!this.isRunning) break;
      await sleep(10);
    }
    throw new Error(`no such line:\n${this.#stdout}${this.stderr}`);
  }

  /** Waits until it serves. @returns the ports */
  async ports(): Promise<{ readonly front: number; readonly admin: number }> {
    const { listen, admin } = await this.line(({ event }) => event === 'start');
    const portOf = (address: unknown) => Number(String(address).split(':').at(-1));
    return { front: portOf(listen), admin: portOf(admin) };
  }

  signal(signal: 'SIGTERM' | 'SIGHUP' | 'SIGINT'): void {
    this.#child.kill(signal);
  }

  /** @returns the exit code, or the signal that ended it */
  async end(): Promise<number | string | null> {
    await this.#ended;
    return this.#child.exitCode ?? this.#child.signalCode;
  }

  /** Knocks at a port until the process has ended. @returns whether anybody ever opened */
  async everOpened(port: number): Promise<boolean> {
    while (this.isRunning) {
      if (await isListening(port)) return true;
      await sleep(5);
    }
    return false;
  }
}

export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** A port that is taken until the end of the scope. */
export async function takenPort(scope: Scope): Promise<number> {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.after(() => void server.close());
  return (server.address() as { port: number }).port;
}
