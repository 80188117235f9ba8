import type { NodeFiles } from '../contracts/node.js';
import { argumentsDirectory, mergedProviders } from './own-files.js';

/**
 * Removes what was made for a start of kubelet. systemd forgets that the directory is the unit's with the drop-in that
 * says so, and what stays there would tell of a process that is gone. Never rejects: it goes at the next reboot.
 */
export async function removeLeftArguments(files: Pick<NodeFiles, 'list' | 'remove'>): Promise<void> {
  const { binDirectory } = mergedProviders;
  const inside = async (directory: string) =>
    (await files.list(directory).catch(() => [])).map((name) => `${directory}/${name}`);
  for (const path of [...(await inside(binDirectory)), ...(await inside(argumentsDirectory))]) {
    if (path !== binDirectory) await files.remove(path).catch(() => undefined);
  }
}
