import { type CommandResult, run } from './command.js';
import { startContainerd } from './containerd.js';
import type { OwnEtc } from './own-etc.js';
import { type Program, startProgram } from './program.js';
import type { Workspace } from './workspace.js';

export interface Dockerd extends Program {
  /** The socket's path. */
  readonly socket: string;
  /** Starts it again once it has ended, on what it has stored. Then `output` is that of the last run. */
  start(): Promise<void>;
  /** Runs the docker client against it. Each `client` has its own logins. */
  docker(
    args: readonly string[],
    o?: {
      readonly input?: string;
      readonly client?: string;
      readonly signal?: AbortSignal;
      readonly timeout?: number;
    },
  ): Promise<CommandResult>;
  /** Runs a line of `sh` whose docker is this one: for pipes. @param args `$1` and the following */
  shell(script: string, ...args: readonly string[]): Promise<CommandResult>;
}

/**
 * How layers are kept: `vfs`, a copy of everything for each, works wherever a test may run; `overlay2` is for images of
 * a size that matters.
 */
export type StorageDriver = 'vfs' | 'overlay2';

/**
 * Starts a Docker Engine that touches nothing of the machine: no bridge, no firewall rules, no forwarding, its own
 * containerd. It counts registries in 127.0.0.0/8 as insecure, so plain http works there, and certificates of clients do
 * not: for those it needs an `/etc` of its own, where a name leads to `::1`.
 *
 * @param settings more of daemon.json
 */
export async function startDockerd(
  workspace: Workspace,
  settings: object = {},
  etc?: OwnEtc,
  storageDriver: StorageDriver = 'vfs',
): Promise<Dockerd> {
  const directory = (name: string) => workspace.path('docker', name);
  const socket = directory('docker.sock');
  const clientEnvironment = (client: string) =>
    workspace.environment({
      DOCKER_HOST: `unix://${socket}`,
      DOCKER_CONFIG: directory(client),
      DOCKER_BUILDKIT: '0',
    });
  const docker: Dockerd['docker'] = (args, { client = 'client', ...options } = {}) =>
    run('docker', args, { env: clientEnvironment(client), ...options });
  const shell: Dockerd['shell'] = (script, ...args) =>
    run('sh', ['-euc', script, 'sh', ...args], { env: clientEnvironment('client') });
  const containerd = await startContainerd(workspace, 'docker/containerd');
  const options = [
    `--config-file=${workspace.file('docker/daemon.json', JSON.stringify({ 'deprecated-key-path': directory('key.json'), ...settings }))}`,
    `--data-root=${directory('data')}`,
    `--exec-root=${directory('exec')}`,
    `--containerd=${containerd.socket}`,
    `--pidfile=${directory('docker.pid')}`,
    `--host=unix://${socket}`,
    '--bridge=none',
    '--iptables=false',
    '--ip-forward=false',
    `--storage-driver=${storageDriver}`,
  ];
  const [command, ...args] = etc?.wrap('dockerd', options) ?? ['dockerd', ...options];
  const ready = async () => (await docker(['version'])).code === 0;
  const begin = () => startProgram(workspace, { command, args, ready });
  let program = await begin();
  return {
    socket,
    docker,
    shell,
    get pid() {
      return program.pid;
    },
    output: () => program.output(),
    isRunning: () => program.isRunning(),
    stop: () => program.stop(),
    kill: () => program.kill(),
    start: async () => {
      program = await begin();
    },
  };
}
