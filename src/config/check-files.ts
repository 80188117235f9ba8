import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
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
    const message = value.kind === 'file' ? await unreadable(resolve(baseDirectory, value.text)) : undefined;
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

function entriesOf(value: object): readonly (readonly [string | number, unknown])[] {
  if (Array.isArray(value)) return value.map((inner: unknown, i) => [i, inner]);
  if (value instanceof Map) return [...value].map(([key, inner]) => [String(key), inner]);
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? Object.entries(value) : [];
}

async function unreadable(file: string): Promise<string | undefined> {
  try {
    if ((await stat(file)).isDirectory()) return 'is a directory; expected a file';
    // Opening it is the only check that knows all reasons; a pipe must not be waited for.
    await (await open(file, constants.O_RDONLY | constants.O_NONBLOCK)).close();
    return undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 'does not exist';
    if (hasCode(error, 'EACCES') || hasCode(error, 'EPERM')) return 'may not be read by this user';
    return `cannot be read: ${describeError(error)}`;
  }
}
