import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { filePathsIn } from './check-files.js';
import type { NamedFile } from './configuration.js';
import { printPath, type SettingPath } from './problem.js';

/** Bytes. What is larger is told apart by its time alone. */
const maxRead = 16 * 1024 * 1024;

/** The files that parsed settings name, with a digest of what they hold now. */
export async function namedFiles(
  settings: readonly { readonly path: SettingPath; readonly config: unknown }[],
  baseDirectory: string,
): Promise<readonly NamedFile[]> {
  const named = settings.flatMap(({ path, config }) => filePathsIn(config, path));
  return Promise.all(
    named
      .filter(({ file }) => file.kind === 'file')
      .map(async ({ path: setting, file }) => {
        const path = resolve(baseDirectory, file.text);
        return { setting: printPath(setting), path, digest: await digestOf(path) };
      }),
  );
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
