import { existsSync } from 'node:fs';
import { type CommandResult, run } from './command.js';
import { type Program, startProgram } from './program.js';
import type { Workspace } from './workspace.js';

export interface Containerd extends Program {
  /** The socket's path. */
  readonly socket: string;
  /** Runs ctr against it. */
  ctr(args: readonly string[]): Promise<CommandResult>;
  /** Pulls with the `native` snapshotter, which mounts nothing. */
  pull(image: string, options?: readonly string[]): Promise<CommandResult>;
}

/** Starts containerd with its own root, state and socket, under `name` in the workspace. */
export async function startContainerd(workspace: Workspace, name = 'containerd'): Promise<Containerd> {
  const socket = workspace.path(name, 'containerd.sock');
  const configuration = `
version = 2
root = "${workspace.path(name, 'root')}"
state = "${workspace.path(name, 'state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "${socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${workspace.path(name, 'opt')}"
`;
  const file = workspace.file(`${name}/config.toml`, configuration);
  const ctr: Containerd['ctr'] = (args) =>
    run('ctr', ['--address', socket, ...args], { env: workspace.environment() });
  const program = await startProgram(workspace, {
    command: 'containerd',
    args: ['--config', file],
    ready: async () => existsSync(socket) && (await ctr(['version'])).code === 0,
  });
  const pull: Containerd['pull'] = (image, options = []) =>
    ctr(['images', 'pull', '--snapshotter', 'native', ...options, image]);
  return { ...program, socket, ctr, pull };
}

/**
 * Writes a hosts directory that sends `registry` to a mirror, and never to the registry itself. containerd adds
 * `?ns=REGISTRY` to requests to a host of another name. It may push there too.
 *
 * @param ca a file of the certificates that are trusted there
 * @returns the directory's path
 */
export function writeHosts(workspace: Workspace, registry: string, mirror: string, ca?: string): string {
  const text = `
server = "${mirror}"
[host."${mirror}"]
  capabilities = ["pull", "resolve", "push"]
${ca === undefined ? '' : `  ca = "${ca}"`}
`;
  workspace.file(`hosts/${registry}/hosts.toml`, text);
  return workspace.path('hosts');
}
