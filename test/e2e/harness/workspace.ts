import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { endProcessesOf, unmountAll } from './leftovers.js';
import { lockMachine } from './one-at-a-time.js';

/** A temporary directory and everything that runs on it; `close` leaves neither process, mount nor file behind. */
export class Workspace {
  readonly directory: string;
  readonly #closing: (() => unknown)[] = [];
  #closed: Promise<void> | undefined;

  constructor(directory: string) {
    this.directory = directory;
    // containers/image refuses to do anything without a policy; root's own is found before the system's.
    this.file('home/.config/containers/policy.json', '{"default":[{"type":"insecureAcceptAnything"}]}');
    mkdirSync(join(directory, 'tmp'));
  }

  /** The absolute path of something in the directory. */
  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  /** Writes a file, with its directories, for this user only. @returns its absolute path */
  file(name: string, text: string): string {
    const path = this.path(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** The text of a file. */
  read(name: string): string {
    return readFileSync(this.path(name), 'utf8');
  }

  /** What programs get: nothing of the user's settings, credentials and proxies. */
  environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return {
      PATH: `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`,
      HOME: this.path('home'),
      TMPDIR: this.path('tmp'),
      LC_ALL: 'C.UTF-8',
      ...more,
    };
  }

  /** Called by `close`, the last one first. */
  onClose(closing: () => unknown): void {
    this.#closing.unshift(closing);
  }

  /** @throws an Error where a program had to be killed */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const failed: unknown[] = [];
    for (const closing of this.#closing) {
      try {
        await closing();
      } catch (error) {
        failed.push(error);
      }
    }
    const left = await endProcessesOf(this.directory);
    await unmountAll(this.directory);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
    open.delete(this);
    if (left.length > 0) failed.push(new Error(`left running:\n${left.join('\n')}`));
    if (failed.length > 0) throw new AggregateError(failed, 'not everything ended well');
  }
}

const open = new Set<Workspace>();

/**
 * Waits until no other end-to-end test runs on this machine, and makes a workspace. Close it.
 *
 * @param mostly a test that mostly waits for time to pass keeps no other from running
 */
export async function openWorkspace(mostly: 'busy' | 'waiting' = 'busy'): Promise<Workspace> {
  const lock = mostly === 'busy' ? await lockMachine(480_000) : { release: () => undefined };
  // Short, for a socket's path has no more than 107 characters.
  const workspace = new Workspace(mkdtempSync(join(tmpdir(), 'drp-e2e-')));
  workspace.onClose(() => lock.release());
  closeOnSignal();
  open.add(workspace);
  return workspace;
}

let signalsHandled = false;

/** The test runner ends a file that takes too long with SIGTERM. */
function closeOnSignal(): void {
  if (signalsHandled) return;
  signalsHandled = true;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      void Promise.allSettled([...open].map((workspace) => workspace.close())).then(() => process.exit(1));
    });
  }
}
