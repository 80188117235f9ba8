import type { NodeFiles } from '../contracts/node.js';
import { readAccess } from './directory-access.js';
import { environmentPaths, findUnits } from './found-unit.js';
import { argumentsNow, configPaths, rancherProvider } from './kubelet-settings.js';
import type { DirectoryAccess, NodeSnapshot, OwnFile, RunningKubelet } from './node.js';
import {
  executableName,
  isUnitPath,
  kubeletUnits,
  ownPaths,
  systemdDirectory,
  unitNames,
} from './own-files.js';
import { markers, platforms } from './platforms.js';
import { kubeletProgram } from './running-kubelet.js';
import { managerDirectories, managerName } from './start-timeout.js';
import { systemdLibraries } from './systemd-version.js';
import { baseName, dropInFolders, unitDirectories } from './unit-text.js';

/**
 * Reads what the installer has to know of a node.
 *
 * @param also files of ours in places that are not the usual ones: those of the record, and of a directory asked for
 * @throws an Error of one line where a file cannot be read
 */
export async function readNode(node: NodeFiles, also: readonly string[] = []): Promise<NodeSnapshot> {
  const files = new Map<string, string>();
  await readUnits(node, files);
  await readManager(node, files);
  await readAll(node, files, ['/etc/os-release', '/usr/lib/os-release', '/etc/hostname']);
  await mark(node, files, [...Object.values(markers), ...Object.values(rancherProvider)]);
  await mark(node, files, await systemdLibraries(node));
  await readRancher(node, files);
  const kubelets = await readKubelets(node);
  await readConfigs(node, files, kubelets);
  const own = await readOwn(node, also);
  return { files, kubelets, own, access: await readDirectories(node, also) };
}

async function readAll(node: NodeFiles, files: Map<string, string>, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if ((await node.stat(path))?.kind !== 'file') continue;
    const text = await node.read(path);
    if (text !== undefined) files.set(path, text);
  }
}

/** Of these it is only asked whether they are there. */
async function mark(node: NodeFiles, files: Map<string, string>, paths: readonly string[]): Promise<void> {
  for (const path of paths) if ((await node.stat(path)) !== undefined) files.set(path, '');
}

async function readUnits(node: NodeFiles, files: Map<string, string>): Promise<void> {
  const folders = new Set(kubeletUnits.flatMap(dropInFolders));
  for (const directory of unitDirectories) {
    const names = await node.list(directory);
    for (const unit of kubeletUnits.filter((one) => names.includes(one))) {
      await readUnit(node, files, `${directory}/${unit}`);
    }
    for (const folder of names.filter((name) => folders.has(name))) {
      const parts = (await node.list(`${directory}/${folder}`)).filter((name) => name.endsWith('.conf'));
      for (const part of parts) await readUnit(node, files, `${directory}/${folder}/${part}`);
    }
  }
}

async function readManager(node: NodeFiles, files: Map<string, string>): Promise<void> {
  for (const directory of managerDirectories) {
    const main = `${directory}/${managerName}`;
    const parts = (await node.list(`${main}.d`)).filter((name) => name.endsWith('.conf'));
    await readAll(node, files, [main]);
    for (const part of parts) await readUnit(node, files, `${main}.d/${part}`);
  }
}

/** A link to /dev/null masks a unit, and a drop-in of the same name elsewhere (systemd.unit(5)): it is read as empty. */
async function readUnit(node: NodeFiles, files: Map<string, string>, path: string): Promise<void> {
  const isFile = (await node.stat(path))?.kind === 'file';
  files.set(path, (isFile ? await node.read(path) : undefined) ?? '');
}

async function readRancher(node: NodeFiles, files: Map<string, string>): Promise<void> {
  for (const program of ['k3s', 'rke2']) {
    const config = `/etc/rancher/${program}/config.yaml`;
    const parts = (await node.list(`${config}.d`)).filter((name) => /\.ya?ml$/.test(name));
    await readAll(node, files, [config, ...parts.map((name) => `${config}.d/${name}`)]);
  }
}

/** Those of the variables in kubelet's command, then the configuration that they may name. */
async function readConfigs(
  node: NodeFiles,
  files: Map<string, string>,
  kubelets: readonly RunningKubelet[],
): Promise<void> {
  // The environment of k3s and RKE2 holds their token, and no flags.
  for (const unit of findUnits(files).filter((one) => one.unit === 'kubelet.service')) {
    await readAll(node, files, environmentPaths(unit));
    const { file, folder } = configPaths(argumentsNow(unit, files, kubelets));
    const parts =
      folder === undefined ? [] : (await node.list(folder)).filter((name) => name.endsWith('.conf'));
    await readAll(node, files, [
      ...(file === undefined ? [] : [file]),
      ...parts.map((name) => `${folder}/${name}`),
    ]);
  }
}

async function readKubelets(node: NodeFiles): Promise<readonly RunningKubelet[]> {
  const kubelets: RunningKubelet[] = [];
  for (const name of await node.list('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const argv = await readArgv(node, name);
    if (kubeletProgram(argv) !== undefined) kubelets.push({ pid: Number(name), argv });
  }
  return kubelets;
}

/** A process may end while it is looked at. */
async function readArgv(node: NodeFiles, pid: string): Promise<readonly string[]> {
  try {
    const text = (await node.read(`/proc/${pid}/cmdline`)) ?? '';
    // A title that a program gave itself may have any number of NULs after it.
    return text.replace(/\0+$/, '').split('\0');
  } catch {
    return [];
  }
}

async function readOwn(node: NodeFiles, also: readonly string[]): Promise<ReadonlyMap<string, OwnFile>> {
  const own = new Map<string, OwnFile>();
  for (const path of new Set([...(await usualPaths(node)), ...also])) {
    const stat = await node.stat(path);
    const hash = stat?.kind === 'file' ? await node.hash(path) : undefined;
    if (stat === undefined || hash === undefined) continue;
    const text = isUnitPath(path) ? await node.read(path) : undefined;
    own.set(path, { hash, mode: stat.mode, ...(text !== undefined && { text }) });
  }
  return own;
}

/** Those of the executable, and of what it reads and writes. */
async function readDirectories(node: NodeFiles, also: readonly string[]): Promise<NodeSnapshot['access']> {
  const programs = also.filter((path) => baseName(path) === executableName);
  const directories = [
    ...Object.values(platforms).flatMap((one) => [one.executableDirectory, one.stateDirectory]),
    ...programs.map((path) => path.slice(0, path.lastIndexOf('/'))),
  ];
  const access = new Map<string, readonly DirectoryAccess[]>();
  for (const directory of new Set(directories)) access.set(directory, await readAccess(node, directory));
  return access;
}

async function usualPaths(node: NodeFiles): Promise<readonly string[]> {
  const places = Object.values(platforms);
  const configs: string[] = [];
  for (const state of new Set(places.map(({ stateDirectory }) => stateDirectory))) {
    configs.push(...(await node.list(`${state}/config`)).map((name) => `${state}/config/${name}`));
  }
  return [
    ...kubeletUnits.map((unit) => ownPaths({ unit, executableDirectory: '', stateDirectory: '' }).dropIn),
    ...Object.values(unitNames).map((name) => `${systemdDirectory}/${name}`),
    ...places.map(({ executableDirectory }) => `${executableDirectory}/${executableName}`),
    ...configs,
  ];
}
