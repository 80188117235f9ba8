import { resolve } from 'node:path';
import type { DriverDependencies } from '../../contracts/index.js';
import { describeError } from '../../errors.js';
import { ChangingFile } from '../../settings/changing-file.js';
import { type KeyFile, parseKeyFile } from './key-file.js';

const maxSize = 64 * 1024;

/**
 * Opens a credential file, which is read again when it has changed: a rotated key needs no restart. While it is missing
 * or broken after that, the last good one stays.
 *
 * @throws an Error with a one-line message where it cannot be used at the start
 */
export async function openKeyFile(
  file: string,
  { id, baseDirectory, log }: DriverDependencies,
): Promise<() => Promise<KeyFile>> {
  const changing = new ChangingFile(resolve(baseDirectory, file), {
    parse: parseKeyFile,
    maxSize,
    onFailure: (error) =>
      log.error({ id, error: describeError(error) }, 'a key file cannot be read again; the last one stays'),
  });
  await changing.read().catch((error: unknown) => {
    throw new Error(describeError(error), { cause: error });
  });
  return () => changing.read();
}
