import { Command } from 'commander';
import type { CommandProcess } from '../../src/bin/command-process.js';
import { failureOf } from '../../src/bin/failure.js';
import type { Surroundings } from '../../src/bin/opener.js';
import { FakeLog } from '../../src/testing/fake-log.js';
import { FakeMetrics } from '../../src/testing/fake-metrics.js';
import type { Ended } from './checking.js';

/** For commands that only look. */
export const quiet = (): Surroundings => ({ clock: Date, log: new FakeLog(), metrics: new FakeMetrics() });

/**
 * A command as the program runs it, but in this process: starting a program takes a second or more on a busy machine.
 *
 * @param add adds it to the program
 */
export async function runInProcess(
  add: (program: Command, process: CommandProcess) => void,
  args: readonly string[],
): Promise<Ended> {
  const written = { stdout: '', stderr: '' };
  const writer = (stream: keyof typeof written) => (text: string) => {
    written[stream] += text;
  };
  const own: CommandProcess = {
    stdout: { write: writer('stdout') },
    stderr: { write: writer('stderr') },
    exitCode: undefined,
  };
  const program = new Command('docker-registry-proxy')
    .exitOverride()
    .configureOutput({ writeOut: writer('stdout'), writeErr: writer('stderr') });
  add(program, own);
  try {
    await program.parseAsync(args, { from: 'user' });
    return { ...written, code: Number(own.exitCode ?? 0) };
  } catch (error) {
    const { message, code } = failureOf(error);
    if (message !== undefined) written.stderr += `${message}\n`;
    return { ...written, code };
  }
}
