import type { NodeFiles } from '../../contracts/node.js';
import { executableName } from '../../node-installer/own-files.js';
import { platforms } from '../../node-installer/platforms.js';

/** Where a platform keeps our files. */
export interface Places {
  readonly executableDirectory: string;
  readonly stateDirectory: string;
}

/** Of all platforms, each once. */
export const allPlaces: readonly Places[] = [
  ...new Map(
    Object.values(platforms).map(({ executableDirectory, stateDirectory }) => [
      stateDirectory,
      { executableDirectory, stateDirectory },
    ]),
  ).values(),
];

/** @returns the state directory that has a journal; undefined where nothing was ever installed. @throws as `NodeFiles` */
export async function journalDirectory(files: NodeFiles): Promise<string | undefined> {
  for (const { stateDirectory } of allPlaces) {
    if ((await files.stat(`${stateDirectory}/journal.json`)) !== undefined) return stateDirectory;
  }
  return undefined;
}

/** Of the executable and the configuration on their way to the node; what is installed is not touched by them. */
export function incomingPaths({ executableDirectory, stateDirectory }: Places) {
  return {
    executable: `${executableDirectory}/${executableName}-installer`,
    configuration: `${stateDirectory}/incoming`,
  };
}
