import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { describeError, hasCode } from '../errors.js';
import { FilePath } from '../settings/file-path.js';
import { isSecretSource } from '../settings/secret-source.js';
import type { Finding, SettingPath } from './problem.js';

/** Deeper than any setting: a module's schema could make a value that holds itself. */
const maxDepth = 32;
/** Bytes of a certificate or key. */
const maxPemSize = 1024 * 1024;

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

function entriesOf(value: object): readonly (readonly [string | number, unknown])[] {
  if (Array.isArray(value)) return value.map((inner: unknown, i) => [i, inner]);
  if (value instanceof Map) return [...value].map(([key, inner]) => [String(key), inner]);
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? Object.entries(value) : [];
}

async function unreadable(file: string): Promise<string | undefined> {
  try {
    if ((await stat(file)).isDirectory()) return 'is a directory; expected a file';
    await access(file, constants.R_OK);
    return undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 'does not exist';
    if (hasCode(error, 'EACCES') || hasCode(error, 'EPERM')) return 'may not be read by this user';
    return `cannot be read: ${describeError(error)}`;
  }
}

/** Finds a certificate and key that TLS cannot use: no PEM, or not of each other. Missing files are for `checkFiles`. */
export async function checkTlsPair(
  pair: { readonly certificate: FilePath; readonly key: FilePath },
  path: SettingPath,
  baseDirectory: string,
): Promise<readonly Finding[]> {
  let cert: Buffer;
  let key: Buffer;
  try {
    [cert, key] = await Promise.all([
      readPem(resolve(baseDirectory, pair.certificate.text)),
      readPem(resolve(baseDirectory, pair.key.text)),
    ]);
  } catch (error) {
    return error instanceof PemSizeError ? [{ path, message: error.message }] : [];
  }
  try {
    createSecureContext({ cert, key });
    return [];
  } catch (error) {
    return [{ path, message: `the certificate and key cannot be used together: ${describeError(error)}` }];
  }
}

class PemSizeError extends Error {}

async function readPem(file: string): Promise<Buffer> {
  const { size } = await stat(file);
  if (size > maxPemSize) throw new PemSizeError(`expected PEM files of at most ${maxPemSize} bytes`);
  return await readFile(file);
}
