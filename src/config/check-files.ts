import { constants } from 'node:fs';
import { access, open, readdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { describeError, hasCode } from '../errors.js';
import { FilePath } from '../settings/file-path.js';
import { isSecretSource } from '../settings/secret-source.js';
import type { Finding, SettingPath } from './problem.js';

/** Deeper than any setting: a module's schema could make a value that holds itself. */
const maxDepth = 32;
/** Finds files and secrets anywhere in parsed settings that are not there or cannot be read. */
export async function checkFiles(
  value: unknown,
  path: SettingPath,
  baseDirectory: string,
  environment: NodeJS.ProcessEnv,
): Promise<readonly Finding[]> {
  if (typeof value !== 'object' || value === null || path.length > maxDepth) return [];
  if (value instanceof FilePath) {
    const message = await unfit(resolve(baseDirectory, value.text), value.kind);
    return message === undefined ? [] : [{ path, message: `${value.text} ${message}` }];
  }
  if (isSecretSource(value) && 'env' in value) {
    if ((environment[value.env] ?? '') !== '') return [];
    return [
      { path: [...path, 'env'], message: `the environment has no variable ${value.env}, or it is empty` },
    ];
  }
  const findings: Finding[] = [];
  for (const [key, inner] of entriesOf(value)) {
    findings.push(...(await checkFiles(inner, [...path, key], baseDirectory, environment)));
  }
  return findings;
}

/** All files and directories in parsed settings, with their places. */
export function filePathsIn(
  value: unknown,
  path: SettingPath = [],
): readonly { readonly path: SettingPath; readonly file: FilePath }[] {
  if (value instanceof FilePath) return [{ path, file: value }];
  if (typeof value !== 'object' || value === null || path.length > maxDepth) return [];
  return entriesOf(value).flatMap(([key, inner]) => filePathsIn(inner, [...path, key]));
}

/** The files in parsed settings that hold a secret, with their places. */
export function secretFilesIn(
  value: unknown,
  path: SettingPath = [],
): readonly { readonly path: SettingPath; readonly file: FilePath }[] {
  if (typeof value !== 'object' || value === null || path.length > maxDepth) return [];
  if (isSecretSource(value)) return 'file' in value ? [{ path: [...path, 'file'], file: value.file }] : [];
  return entriesOf(value).flatMap(([key, inner]) => secretFilesIn(inner, [...path, key]));
}

function entriesOf(value: object): readonly (readonly [string | number, unknown])[] {
  if (Array.isArray(value)) return value.map((inner: unknown, i) => [i, inner]);
  if (value instanceof Map) return [...value].map(([key, inner]) => [String(key), inner]);
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? Object.entries(value) : [];
}

function unfit(file: string, kind: FilePath['kind']): Promise<string | undefined> {
  if (kind === 'file') return unreadable(file);
  if (kind === 'readable directory') return unreadableDirectory(file);
  return kind === 'directory' ? cannotBeDirectory(file) : unwritable(file);
}

/** One that is there may be read-only: what is in it may be enough. */
async function cannotBeDirectory(directory: string): Promise<string | undefined> {
  const parent = dirname(directory);
  try {
    return (await stat(directory)).isDirectory() ? undefined : 'is not a directory';
  } catch (error) {
    if (!hasCode(error, 'ENOENT') || parent === directory) return `cannot be used: ${describeError(error)}`;
  }
  const isThere = await stat(parent).then(
    () => true,
    () => false,
  );
  if (!isThere) return cannotBeDirectory(parent);
  return access(parent, constants.W_OK).then(
    () => undefined,
    () => `does not exist, and this user may not make it in ${parent}`,
  );
}

async function unreadableDirectory(directory: string): Promise<string | undefined> {
  try {
    if (!(await stat(directory)).isDirectory()) return 'is a file; expected a directory';
    await readdir(directory);
    return undefined;
  } catch (error) {
    return whyUnreadable(error);
  }
}

async function unwritable(file: string): Promise<string | undefined> {
  try {
    if ((await stat(file)).isDirectory()) return 'is a directory; expected a file';
    await access(file, constants.W_OK);
    return undefined;
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) return 'may not be written by this user';
  }
  return access(dirname(file), constants.W_OK).then(
    () => undefined,
    (error: unknown) =>
      hasCode(error, 'ENOENT')
        ? `cannot be made: there is no directory ${dirname(file)}`
        : 'cannot be made: this user may not write its directory',
  );
}

async function unreadable(file: string): Promise<string | undefined> {
  try {
    if ((await stat(file)).isDirectory()) return 'is a directory; expected a file';
    // Opening it is the only check that knows all reasons; a pipe must not be waited for.
    await (await open(file, constants.O_RDONLY | constants.O_NONBLOCK)).close();
    return undefined;
  } catch (error) {
    return whyUnreadable(error);
  }
}

function whyUnreadable(error: unknown): string {
  if (hasCode(error, 'ENOENT')) return 'does not exist';
  if (hasCode(error, 'EACCES') || hasCode(error, 'EPERM')) return 'may not be read by this user';
  return `cannot be read: ${describeError(error)}`;
}
