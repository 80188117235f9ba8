import { type ChildProcess, spawn } from 'node:child_process';
import type { CallOptions } from '../contracts/index.js';
import { hasCode } from '../errors.js';

const leftOver = 'it has ended, but something it started holds its output open';

/** Bytes. */
const maxOutput = 64 * 1024;
const maxErrors = 16 * 1024;

export interface ProgramCall extends CallOptions {
  readonly program: string;
  readonly args: readonly string[];
  /** Ours where it is missing. */
  readonly cwd?: string;
  /** The whole of it: nothing of ours is added. */
  readonly environment: Readonly<Record<string, string>>;
  readonly input: string;
  /** Milliseconds. */
  readonly timeLimit: number;
}

export interface ProgramResult {
  /** Undefined where a signal ended it. */
  readonly code: number | undefined;
  readonly stdout: Buffer;
  /** Its beginning. */
  readonly stderr: string;
}

/**
 * Runs a program to its end, without a shell and with no file of ours open. It gets a process group of its own, and
 * whatever is left of that when it has ended, or has to end, is killed with SIGKILL: what a script started ends with it.
 * Settles only when the program is gone.
 *
 * @throws the signal's reason; an Error where it cannot be started, writes too much or takes too long
 */
export function runProgram(call: ProgramCall): Promise<ProgramResult> {
  const { program, args, cwd, environment, input, timeLimit, signal } = call;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = spawn(program, args, {
      cwd,
      env: environment,
      detached: true, // setsid(2): a group of its own, and no terminal
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let failure: { readonly error: unknown } | undefined;
    const end = (error: unknown) => {
      failure ??= { error };
      killGroup(child);
      // What has left the group may hold them open for ever.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const onTimeout = () =>
      end(new Error(hasExited(child) ? leftOver : `it took longer than ${timeLimit} ms`));
    const timer = setTimeout(onTimeout, timeLimit);
    const onAbort = () => end(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const letGo = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    const stdout = collect(child.stdout, maxOutput, () =>
      end(new Error(`it wrote more than ${maxOutput} bytes`)),
    );
    const stderr = collect(child.stderr, maxErrors);
    child.once('error', (error) => {
      letGo();
      reject(cannotStart(error));
    });
    child.once('exit', () => killGroup(child));
    child.once('close', (code) => {
      letGo();
      if (failure !== undefined) reject(failure.error);
      else resolve({ code: code ?? undefined, stdout: stdout(), stderr: stderr().toString('utf8') });
    });
    child.stdin.on('error', () => {}); // EPIPE: it need not read its input
    child.stdin.end(input);
  });
}

function cannotStart(cause: Error): Error {
  if (!hasCode(cause, 'ENOENT')) return new Error('it cannot be started', { cause });
  return new Error('it cannot be started: it is not there, or the interpreter in its first line is not');
}

/** Keeps the first bytes of a stream, and reads on, so that who writes more is not held up. */
function collect(
  stream: NodeJS.ReadableStream,
  limit: number,
  onMore: () => void = () => undefined,
): () => Buffer {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('error', () => undefined); // destroyed
  stream.on('data', (chunk: Buffer) => {
    if (size < limit) chunks.push(chunk.subarray(0, limit - size));
    size += chunk.length;
    if (size > limit) onMore();
  });
  return () => Buffer.concat(chunks);
}

function hasExited({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // no group: it is gone already, or not yet made
  }
}

/** @param code undefined where a signal ended it */
export function endedBadly(code: number | undefined): string {
  const end = code === undefined ? 'it was ended by a signal' : `it failed with exit code ${code}`;
  return `${end}; run it by hand to see what it says`;
}
