import { cpSync, linkSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findProgram } from '../../../src/testing/programs.js';
import { type CommandResult, run, succeeded } from './command.js';
import { type Program, startProgram } from './program.js';
import type { Workspace } from './workspace.js';

/** The only libraries that an executable may need: glibc's, libstdc++ and libgcc. */
const usualLibraries =
  /^(?:ld-linux[\w-]*\.so\.2|lib(?:c|dl|m|pthread|rt|gcc_s|stdc\+\+)\.so\.\d+|linux-vdso\.so\.1)$/;

/** A root directory with one program in it, the libraries it names, and `/tmp`: no `/proc`, no `/etc`, no shell. */
export class BareRoot {
  readonly directory: string;
  readonly #workspace: Workspace;
  readonly #program: string;

  private constructor(workspace: Workspace, directory: string, program: string) {
    this.#workspace = workspace;
    this.directory = directory;
    this.#program = program;
  }

  /**
   * @param program the file; it is linked to, so it is on the same filesystem
   * @throws an Error where it needs another library
   */
  static async make(workspace: Workspace, program: string): Promise<BareRoot> {
    const directory = workspace.path('root');
    mkdirSync(join(directory, 'tmp'), { recursive: true });
    const { stdout } = succeeded(await run('ldd', [program], { env: workspace.environment() }));
    for (const [, name = '', path] of stdout.matchAll(/^\s+(?:\S*\/)?(\S+)(?: => (\S+))? \(/gm)) {
      if (!usualLibraries.test(name)) throw new Error(`it needs ${name}`);
      if (name.startsWith('linux-vdso')) continue;
      const file = path ?? '/lib64/ld-linux-x86-64.so.2';
      mkdirSync(join(directory, dirname(file)), { recursive: true });
      cpSync(file, join(directory, file), { dereference: true });
    }
    linkSync(program, join(directory, 'kubelet-image-service'));
    return new BareRoot(workspace, directory, 'kubelet-image-service');
  }

  /** A path as the program sees it. @throws an Error where it does not see it */
  inside(path: string): string {
    if (!path.startsWith(`${this.directory}/`)) throw new Error(`${path} is outside`);
    return path.slice(this.directory.length);
  }

  run(
    args: readonly string[],
    { input = '', env = {} }: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {},
  ): Promise<CommandResult> {
    return run(this.#chroot, this.#command(args), { env, input, timeout: 60_000 });
  }

  start(args: readonly string[], ready: () => Promise<boolean>): Promise<Program> {
    return startProgram(this.#workspace, { command: this.#chroot, args: this.#command(args), ready });
  }

  get #chroot(): string {
    return findProgram('chroot') ?? 'chroot';
  }

  #command(args: readonly string[]): readonly string[] {
    return [this.directory, `/${this.#program}`, ...args];
  }
}
