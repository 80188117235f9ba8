import { readdirSync, readFileSync } from 'node:fs';
import { run, succeeded } from './command.js';
import { waitFor } from './wait-for.js';

/** Ends every process whose command line names the directory, which only our own programs know. @returns their lines */
export async function endProcessesOf(directory: string): Promise<readonly string[]> {
  await waitFor(() => processesOf(directory).length === 0, 5_000);
  const left = processesOf(directory);
  for (const { pid } of left) kill(pid);
  await waitFor(() => processesOf(directory).length === 0, 5_000);
  return left.map(({ line }) => line);
}

interface FoundProcess {
  readonly pid: number;
  readonly line: string;
}

function processesOf(directory: string): readonly FoundProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => ({ pid: Number(name), line: commandLine(name) }))
    .filter(({ line }) => line.includes(directory));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return ''; // ended meanwhile
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ended meanwhile
  }
}

/** Unmounts whatever is mounted under the directory, the innermost first. */
export async function unmountAll(directory: string): Promise<void> {
  for (const point of mountsUnder(directory).reverse()) {
    succeeded(await run('umount', ['--lazy', point], { env: { PATH: process.env.PATH } }));
  }
}

function mountsUnder(directory: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((point) => point.startsWith(`${directory}/`));
}
