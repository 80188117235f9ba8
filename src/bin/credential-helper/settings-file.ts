import { existsSync, type Stats } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export const settingsVariable = 'DOCKER_CREDENTIAL_REGISTRY_PROXY_CONFIG';
const systemFile = '/etc/docker-credential-registry-proxy.yaml';

/** Where a configuration is looked for that no variable names: the user's own beside docker's, that of the machine. */
export function usualSettingsFiles(environment: NodeJS.ProcessEnv, system = systemFile): readonly string[] {
  const docker = environment.DOCKER_CONFIG || join(homedir(), '.docker');
  return [join(docker, 'registry-proxy.yaml'), system];
}

/**
 * The configuration: the file that the variable names, else the first of the usual ones that is there.
 *
 * @returns undefined where there is none. One that is named must be there: it is returned in any case
 */
export function findSettingsFile(environment: NodeJS.ProcessEnv, system = systemFile): string | undefined {
  const named = environment[settingsVariable];
  if (named) return named;
  return usualSettingsFiles(environment, system).find((file) => existsSync(file));
}

/** The bits of a mode by which a group and everybody may write. */
const writableByOthers = 0o022;

/**
 * A configuration names programs to run and code to load: it has to be of whoever runs this, or of the machine.
 *
 * @param stats of the file itself, where its name is a link
 * @param user who runs this; undefined where users have no numbers (Windows)
 * @returns why it is not taken; undefined where it is
 */
export function refusalOf(
  { uid, mode }: Pick<Stats, 'uid' | 'mode'>,
  user: number | undefined = process.geteuid?.(),
): string | undefined {
  if (user === undefined) return undefined;
  const why = 'is not taken, for a configuration can name programs to run';
  if (uid !== user && uid !== 0) {
    return `${why}: it belongs to user ${uid}; expected ${user === 0 ? '' : `user ${user} or `}root`;
  }
  if ((mode & writableByOthers) === 0) return undefined;
  const shown = (mode & 0o777).toString(8).padStart(3, '0');
  return `${why}: others may write it (mode ${shown}); chmod go-w`;
}
