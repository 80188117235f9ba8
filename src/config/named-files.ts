import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { filePathsIn } from './check-files.js';
import type { NamedFile } from './configuration.js';
import { printPath, type SettingPath } from './problem.js';

/** Bytes. What is larger is told apart by its time alone. */
const maxRead = 16 * 1024 * 1024;

/** Files of one directory that are looked at. */
const maxInDirectory = 1_000;

/**
 * The files that parsed settings name, with a digest of what they hold now. A directory comes with all its files, and
 * each with the digest of all of them.
 */
export async function namedFiles(
  settings: readonly { readonly path: SettingPath; readonly config: unknown }[],
  baseDirectory: string,
): Promise<readonly NamedFile[]> {
  const named = settings.flatMap(({ path, config }) => filePathsIn(config, path));
  const all = named.map(async ({ path: setting, file }): Promise<readonly NamedFile[]> => {
    const path = resolve(baseDirectory, file.text);
    const at = printPath(setting);
    if (file.kind === 'readable directory') return filesIn(path, at);
    return file.kind === 'file' ? [{ setting: at, path, digest: await digestOf(path) }] : [];
  });
  return (await Promise.all(all)).flat();
}

async function filesIn(directory: string, setting: string): Promise<readonly NamedFile[]> {
  const names = await readdir(directory).catch(() => []); // whoever needs it says why
  const paths = names
    .sort()
    .slice(0, maxInDirectory)
    .map((name) => join(directory, name));
  const whole = createHash('sha256');
  for (const path of paths) whole.update(JSON.stringify([path, await digestOf(path)]));
  const digest = whole.digest('hex');
  // The directory's own mark changes where a file comes or goes, and not where one is written.
  return [directory, ...paths].map((path) => ({ setting, path, digest }));
}

async function digestOf(path: string): Promise<string> {
  try {
    const found = await stat(path);
    if (!found.isFile()) return 'special'; // a pipe may never end
    const { size, mtimeMs } = found;
    const content = size > maxRead ? `${size} bytes of ${mtimeMs}` : await readFile(path);
    return createHash('sha256').update(content).digest('hex');
  } catch {
    return 'unreadable'; // whoever needs it says why
  }
}
