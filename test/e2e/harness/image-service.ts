import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CommandResult, run } from './command.js';
import { type Program, startProgram } from './program.js';
import type { Workspace } from './workspace.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** `kubelet-image-service serve` as a program of its own. */
export interface RunningImageService {
  /** The socket's path. */
  readonly socket: string;
  readonly adminSocket: string;
  /** Everything it wrote, over all restarts. */
  output(): string;
  /** Its JSON lines. */
  log(): readonly Readonly<Record<string, unknown>>[];
  isRunning(): boolean;
  /** Of the present run. */
  pid(): number;
  /** SIGTERM, and waits for its end. */
  stop(): Promise<void>;
  kill(): Promise<void>;
  start(): Promise<void>;
  /** What `status --json` prints. */
  status(): Promise<Pulls>;
}

/** Of the admin socket's `/pulls`, what tests look at. */
export interface Pulls {
  readonly running: readonly Readonly<Record<string, unknown>>[];
  readonly recent: readonly Readonly<Record<string, unknown>>[];
}

/** Beside what every program of the workspace gets. */
export interface ImageServiceOptions {
  readonly name?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Starts it and waits until its endpoint answers; `listen` is filled in.
 *
 * @param configuration `runtime` and what else is wanted
 */
export async function startImageService(
  workspace: Workspace,
  configuration: object,
  { name = 'image-service', env = {} }: ImageServiceOptions = {},
): Promise<RunningImageService> {
  const socket = workspace.path(name, 'run', 'image.sock');
  const settings = { listen: `unix://${socket}`, ...configuration };
  const file = workspace.file(`${name}/configuration.yaml`, JSON.stringify(settings, undefined, 2)); // JSON is YAML
  const runs: Program[] = [];
  const current = () => runs.at(-1);
  const output = () => runs.map((program) => program.output()).join('');
  const start = async () => {
    const args = programArguments('serve', '--config', file, '--allow', 'exec');
    const ready = async () => (await probe(workspace, socket)).code === 0;
    runs.push(await startProgram(workspace, { command: process.execPath, args, cwd: root, env, ready }));
  };
  await start();
  return {
    ...{ socket, start, output, adminSocket: workspace.path(name, 'run', 'admin.sock') },
    log: () => jsonLines(output()),
    isRunning: () => current()?.isRunning() ?? false,
    pid: () => current()?.pid ?? 0,
    stop: async () => current()?.stop(),
    kill: async () => current()?.kill(),
    status: async () => {
      const { stdout } = await runImageService(workspace, 'status', '--config', file, '--json');
      return JSON.parse(stdout) as Pulls;
    },
  };
}

/** Runs one of its commands to its end: `probe`, `status`, `check`. */
export function runImageService(workspace: Workspace, ...args: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, programArguments(...args), { env: workspace.environment(), cwd: root });
}

export function probe(workspace: Workspace, socket: string, timeout = '5s'): Promise<CommandResult> {
  return runImageService(workspace, 'probe', '--endpoint', `unix://${socket}`, '--timeout', timeout);
}

function jsonLines(output: string): readonly Readonly<Record<string, unknown>>[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** `npm test` builds first, and says so; a test file run by itself takes the source as it is. */
function programArguments(...args: readonly string[]): readonly string[] {
  return process.env.TEST_BUILT === '1'
    ? [join(root, 'dist/bin/kubelet-image-service.js'), ...args]
    : ['--import', 'tsx', join(root, 'src/bin/kubelet-image-service.ts'), ...args];
}
