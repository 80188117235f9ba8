import { type CommandOptions, type CommandResult, run } from './command.js';
import type { OwnEtc } from './own-etc.js';
import type { Workspace } from './workspace.js';

/** Runs skopeo. */
export type Skopeo = (
  args: readonly string[],
  input?: string,
  o?: Pick<CommandOptions, 'signal' | 'timeout'>,
) => Promise<CommandResult>;

/** A skopeo of its own: what one logs in to, another does not know. @param etc what it sees as `/etc` */
export function skopeo(workspace: Workspace, name = 'skopeo', etc?: OwnEtc): Skopeo {
  const env = workspace.environment({
    REGISTRY_AUTH_FILE: workspace.path(name, 'auth.json'),
    CONTAINERS_REGISTRIES_CONF: workspace.file(`${name}/registries.conf`, ''),
    XDG_RUNTIME_DIR: workspace.path(name),
  });
  return (args, input, o) => {
    const [program, ...all] = etc?.wrap('skopeo', args) ?? ['skopeo', ...args];
    return run(program, all, { env, ...o, ...(input !== undefined && { input }) });
  };
}
