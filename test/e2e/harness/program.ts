import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname } from 'node:path';
import { waitFor } from './wait-for.js';
import type { Workspace } from './workspace.js';

export interface ProgramOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Asked again and again until it says true. */
  readonly ready: () => boolean | Promise<boolean>;
}

/** A program that goes on running. */
export interface Program {
  readonly pid: number;
  /** Everything it has written to standard output and standard error. */
  output(): string;
  isRunning(): boolean;
  /** SIGTERM, and SIGKILL after 20 s. Harmless when it has ended. */
  stop(): Promise<void>;
  /** SIGKILL: it ends nothing in order. Harmless when it has ended. */
  kill(): Promise<void>;
}

let started = 0;

/**
 * Starts a program and waits until it is ready; the workspace stops it.
 *
 * @throws an Error with its output where it ends, or is not ready within a minute
 */
export async function startProgram(workspace: Workspace, options: ProgramOptions): Promise<Program> {
  const log = workspace.path('log', `${++started}-${basename(options.command)}`);
  mkdirSync(dirname(log), { recursive: true });
  const file = openSync(log, 'a', 0o600);
  const child = spawn(options.command, options.args, {
    env: workspace.environment(options.env),
    cwd: options.cwd ?? workspace.directory,
    stdio: ['ignore', file, file],
  });
  closeSync(file);
  let failure = '';
  child.on('error', (error) => {
    failure = error.message;
  });
  const program: Program = {
    pid: child.pid ?? 0,
    output: () => readFileSync(log, 'utf8'),
    isRunning: () => isRunning(child),
    stop: () => stop(child),
    kill: () => kill(child),
  };
  workspace.onClose(program.stop);
  const ready = await waitFor(async () => !isRunning(child) || (await options.ready()), 60_000);
  if (ready && isRunning(child)) return program;
  await program.stop();
  throw new Error(`${options.command} did not start: ${failure}\n${program.output()}`);
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function stop(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  child.kill('SIGTERM');
  if (await waitFor(() => !isRunning(child), 20_000)) return;
  await kill(child);
}

async function kill(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  child.kill('SIGKILL');
  await waitFor(() => !isRunning(child), 5_000);
}

/** True when something answers HTTP there, whatever its status. */
export async function answers(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000), redirect: 'manual' });
  await response.body?.cancel();
  return true;
}

/** True when something takes connections there. @param host `127.0.0.1:PORT` or `[::1]:PORT` */
export function accepts(host: string): Promise<boolean> {
  const { hostname, port } = new URL(`tcp://${host}`);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''));
    const end = (isOpen: boolean) => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}
