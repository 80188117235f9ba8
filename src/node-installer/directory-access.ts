import type { NodeFiles } from '../contracts/node.js';
import type { DirectoryAccess } from './node.js';

/**
 * Who may write where a directory is, from `/` down to itself; where a link leads to it also on the way that it takes.
 * Those that are not there yet are made by us.
 *
 * @throws as `NodeFiles`
 */
export async function readAccess(node: NodeFiles, directory: string): Promise<readonly DirectoryAccess[]> {
  const found = new Map<string, DirectoryAccess>();
  const ahead = [...wayTo(directory)];
  for (let path = ahead.shift(); path !== undefined; path = ahead.shift()) {
    if (found.has(path)) continue;
    const stat = await node.stat(path);
    if (stat === undefined) continue;
    found.set(path, { path, owner: stat.owner, mode: stat.mode });
    if (stat.realPath !== path) ahead.push(...wayTo(stat.realPath));
  }
  return [...found.values()];
}

/** `/`, `/a`, `/a/b`. */
function wayTo(directory: string): readonly string[] {
  const names = directory.split('/').filter(Boolean);
  return ['/', ...names.map((_, at) => `/${names.slice(0, at + 1).join('/')}`)];
}

/** @returns one sentence for each that others than root may write */
export function accessRefusals(ways: readonly DirectoryAccess[]): readonly string[] {
  const open = new Map(ways.filter(isOpen).map((one) => [one.path, one]));
  return [...open.values()].map(
    ({ path, owner, mode }) =>
      `${path} (owner ${owner}, mode ${mode.toString(8).padStart(4, '0')}) may be written by others than root, who could replace what runs as root: make it root's with 0755, or name another directory with --directory`,
  );
}

const isOpen = ({ owner, mode }: DirectoryAccess) => owner !== 0 || (mode & 0o022) !== 0;
