import { existsSync } from 'node:fs';
import { type CommandResult, run } from './command.js';
import { type Program, startProgram } from './program.js';
import type { Workspace } from './workspace.js';

/** containerd with its CRI plugin: what kubelet of most clusters talks to. */
export interface CriContainerd {
  /** The socket's path. */
  readonly socket: string;
  /** Runs ctr against it, in the namespace of Kubernetes. */
  ctr(args: readonly string[]): Promise<CommandResult>;
  /** Of the present run. */
  readonly pid: number;
  /** Everything it wrote, over all restarts. */
  output(): string;
  /** SIGKILL: what it was doing is lost. */
  kill(): Promise<void>;
  /** Starts it again, on what it has stored. */
  start(): Promise<void>;
}

/** @param o.root where images are kept; made where it is not there */
export async function startCriContainerd(
  workspace: Workspace,
  { name = 'cri', root = workspace.path(name, 'root') } = {},
): Promise<CriContainerd> {
  const socket = workspace.path(name, 'containerd.sock');
  const file = workspace.file(`${name}/config.toml`, settings(workspace, name, root, socket));
  const ctr: CriContainerd['ctr'] = (args) =>
    run('ctr', ['--address', socket, '--namespace', 'k8s.io', ...args], { env: workspace.environment() });
  const runs: Program[] = [];
  const start = async () => {
    const program = await startProgram(workspace, {
      command: 'containerd',
      args: ['--config', file],
      ready: async () => existsSync(socket) && (await ctr(['version'])).code === 0,
    });
    runs.push(program);
  };
  await start();
  return {
    socket,
    ctr,
    start,
    get pid() {
      return runs.at(-1)?.pid ?? 0;
    },
    output: () => runs.map((program) => program.output()).join(''),
    kill: async () => runs.at(-1)?.kill(),
  };
}

/** Snapshots that mount nothing, no network, no port that others could have, registries of the loopback by http. */
function settings(workspace: Workspace, name: string, root: string, socket: string): string {
  const directory = (...parts: string[]) => workspace.path(name, ...parts);
  const unused = ['aufs', 'btrfs', 'devmapper', 'overlayfs', 'zfs'].map(
    (snapshotter) => `"io.containerd.snapshotter.v1.${snapshotter}"`,
  );
  return `
version = 2
root = "${root}"
state = "${directory('state')}"
disabled_plugins = [${unused.join(', ')}]
[grpc]
  address = "${socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${directory('opt')}"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${directory('cni', 'bin')}"
    conf_dir = "${directory('cni', 'conf')}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${directory('hosts')}"
`;
}
