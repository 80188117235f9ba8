import { join } from 'node:path';
import type { NodeFiles } from '../../contracts/node.js';
import { CommandFailure } from '../command-failure.js';
import { exitCodes } from '../exit.js';
import { HostFiles } from './host-files.js';
import { fileHash } from './own-program.js';
import { allPlaces, incomingPaths, type Places } from './places.js';

/** What a process on the node finds there. */
export interface Staged extends Places {
  /** Paths of the node. */
  readonly executable: string;
  readonly configuration: string | undefined;
}

export interface Staging {
  /** Where the node's directories are mounted: `DIR/<path on the node>`. */
  readonly nodeDirectory: string;
  /** Instead of the platform's. */
  readonly directory?: string | undefined;
  /** Ours. */
  readonly executable: string;
  /** Name and files; absent: none is needed. */
  readonly configuration?: { readonly name: string; readonly files: ReadonlyMap<string, string> };
}

/**
 * Copies the executable and the configuration to where the node can see them; nothing where they are there already.
 *
 * @throws CommandFailure where the node's directories are not mounted; an Error of one line where they cannot be written
 */
export async function stage({
  nodeDirectory,
  directory,
  executable,
  configuration,
}: Staging): Promise<Staged> {
  const files = new HostFiles(nodeDirectory);
  const places = await mountedPlaces(files, nodeDirectory, directory);
  const incoming = incomingPaths(places);
  const hash = await fileHash(executable);
  if ((await files.hash(incoming.executable)) !== hash) {
    await files.write(incoming.executable, { copyOf: executable }, 0o755);
  }
  if (configuration !== undefined) {
    await replaceAll(files, incoming.configuration, configuration.files).catch(async (error: unknown) => {
      await clearIncoming(files, places).catch(() => undefined);
      throw error;
    });
  }
  return {
    ...places,
    executable: incoming.executable,
    configuration: configuration && join(incoming.configuration, configuration.name),
  };
}

/** Secrets are on the node's disk only as long as they are read there. @throws as `NodeFiles` */
export function clearIncoming(files: NodeFiles, places: Pick<Places, 'stateDirectory'>): Promise<void> {
  return replaceAll(files, incomingPaths({ executableDirectory: '', ...places }).configuration, new Map());
}

/**
 * Takes away whatever was ever brought to a node.
 *
 * @param directories of executables, beside those of the platforms
 * @throws as `NodeFiles`
 */
export async function removeIncoming(files: NodeFiles, directories: readonly string[]): Promise<void> {
  for (const places of allPlaces) {
    await clearIncoming(files, places);
    for (const executableDirectory of [places.executableDirectory, ...directories]) {
      await files.remove(incomingPaths({ ...places, executableDirectory }).executable);
    }
  }
}

async function mountedPlaces(
  files: NodeFiles,
  nodeDirectory: string,
  directory: string | undefined,
): Promise<Places> {
  const wanted = allPlaces.map((places) => ({
    ...places,
    ...(directory && { executableDirectory: directory }),
  }));
  for (const places of wanted) {
    const found = await Promise.all([
      files.stat(places.executableDirectory),
      files.stat(places.stateDirectory),
    ]);
    if (found.every((one) => one?.kind === 'directory')) return places;
  }
  const expected = wanted.map((one) => `${one.executableDirectory} and ${one.stateDirectory}`).join(', or ');
  throw new CommandFailure(
    `--node-directory: expected the node's ${expected} below ${nodeDirectory}`,
    exitCodes.usage,
  );
}

async function replaceAll(
  files: NodeFiles,
  directory: string,
  wanted: ReadonlyMap<string, string>,
): Promise<void> {
  for (const name of await files.list(directory)) {
    if (!wanted.has(name)) await files.remove(join(directory, name));
  }
  for (const [name, text] of wanted) await files.write(join(directory, name), text, 0o600);
}
