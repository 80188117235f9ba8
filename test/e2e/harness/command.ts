import { spawn } from 'node:child_process';

/** How a program ended, and what it said. */
export interface CommandResult {
  readonly command: string;
  /** 128 + n where signal n ended it. */
  readonly code: number;
  readonly stdout: string;
  /** Standard output and standard error, as they came. */
  readonly output: string;
}

export interface CommandOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Written to its standard input. */
  readonly input?: string;
  readonly cwd?: string;
  /** Milliseconds; then it is killed. */
  readonly timeout?: number;
  /** Aborted: it is killed. */
  readonly signal?: AbortSignal;
}

/** Runs a program to its end, whatever its exit code. */
export function run(
  command: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: options.env,
      ...(options.cwd !== undefined && { cwd: options.cwd }),
      timeout: options.timeout ?? 120_000,
      killSignal: 'SIGKILL',
    });
    const kill = () => child.kill('SIGKILL');
    options.signal?.addEventListener('abort', kill, { once: true });
    let stdout = '';
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stdin.on('error', () => undefined); // it may end without reading
    child.stdin.end(options.input ?? '');
    child.on('error', reject);
    child.on('close', (code, signal) => {
      options.signal?.removeEventListener('abort', kill);
      const line = [command, ...args].join(' ');
      resolve({ command: line, code: code ?? (signal === 'SIGKILL' ? 137 : 143), stdout, output });
    });
  });
}

/** @throws an Error with the program's output where it did not end with 0 */
export function succeeded(result: CommandResult): CommandResult {
  if (result.code === 0) return result;
  throw new Error(`${result.command}\nended with ${result.code}:\n${result.output}`);
}

/** @throws an Error where it ended with 0, or without saying anything like `pattern` */
export function failedWith(result: CommandResult, pattern: RegExp): CommandResult {
  if (result.code !== 0 && pattern.test(result.output)) return result;
  throw new Error(
    `${result.command}\nended with ${result.code}; expected a failure with ${pattern}:\n${result.output}`,
  );
}
