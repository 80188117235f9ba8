import type { NodeFiles } from '../contracts/node.js';

/** The first one with all that our units and our calls need. */
const firstVersion = 242;

/** Of a library that has its version in its name, in a folder `systemd` of one of these; Debian's is in its own. */
const libraries = ['/usr/lib', '/lib', '/usr/lib64', '/lib64'];
const library = /\/libsystemd-shared-(?<version>\d+)[^/]*\.so$/;

/**
 * The files by which a node's systemd is told: its program says its version only when it is run.
 *
 * @throws as `NodeFiles`
 */
export async function systemdLibraries(node: NodeFiles): Promise<readonly string[]> {
  const paths: string[] = [];
  for (const directory of libraries) {
    const own = (await node.list(directory)).filter((name) => /-linux-gnu(?:\w*)$/.test(name));
    for (const folder of ['', ...own.map((name) => `/${name}`)].map((one) => `${directory}${one}/systemd`)) {
      const names = await node.list(folder);
      paths.push(...names.map((name) => `${folder}/${name}`).filter((path) => library.test(path)));
    }
  }
  return paths;
}

/** @returns why its units would not be understood; undefined too where files do not tell its version */
export function oldSystemd(files: ReadonlyMap<string, string>): string | undefined {
  const versions = [...files.keys()].flatMap((path) => library.exec(path)?.groups?.version ?? []).map(Number);
  // An upgrade may have left an earlier one.
  const version = Math.max(...versions);
  if (versions.length === 0 || version >= firstVersion) return undefined;
  return `its systemd is ${version}, expected ${firstVersion} or newer: take a newer node image, or use docker-registry-proxy as a registry or a mirror instead`;
}
