import { type CommandResult, run } from './command.js';
import type { Workspace } from './workspace.js';

export interface Podman {
  podman(args: readonly string[], input?: string): Promise<CommandResult>;
  /** Shares podman's images and logins. */
  buildah(args: readonly string[], input?: string): Promise<CommandResult>;
}

/**
 * podman and buildah with their own storage. Nothing is mounted: vfs, and no container is run. What stays behind is
 * the cache of where blobs were seen, /var/lib/containers/cache, whose place no option changes for root.
 */
export function podman(workspace: Workspace, name = 'podman'): Podman {
  const storage = [
    ...['--root', workspace.path(name, 'root')],
    ...['--runroot', workspace.path(name, 'run')],
    ...['--storage-driver', 'vfs'],
  ];
  const ours = [
    '--tmpdir',
    workspace.path(name, 'tmp'),
    '--cgroup-manager',
    'cgroupfs',
    '--events-backend',
    'none',
  ];
  const env = workspace.environment({
    // podman refuses to start where the file it is told is not there.
    REGISTRY_AUTH_FILE: workspace.file(`${name}/auth.json`, '{}'),
    CONTAINERS_REGISTRIES_CONF: workspace.file(`${name}/registries.conf`, ''),
    CONTAINERS_CONF: workspace.file(
      `${name}/containers.conf`,
      `[network]\nnetwork_config_dir = "${workspace.path(name, 'network')}"\n`,
    ),
    XDG_RUNTIME_DIR: workspace.path(name),
  });
  const start = (command: string, args: readonly string[], input?: string) =>
    run(command, args, { env, ...(input !== undefined && { input }) });
  return {
    podman: (args, input) => start('podman', [...storage, ...ours, ...args], input),
    buildah: (args, input) => start('buildah', [...storage, ...args], input),
  };
}
