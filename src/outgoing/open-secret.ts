import { resolve } from 'node:path';
import type { Log } from '../contracts/index.js';
import { describeError } from '../errors.js';
import { Secret } from '../secret.js';
import { ChangingFile } from '../settings/changing-file.js';
import type { SecretSource } from '../settings/secret-source.js';

const maxSize = 64 * 1024;

/** Gives a configured secret as it is now. */
export type SecretReader = () => Promise<Secret>;

/**
 * Opens a configured secret. A file is read again when it has changed, so that a rotation needs no restart; while it
 * is missing or empty after that, the last good value stays.
 *
 * @throws an Error with a one-line message where it is not there at the start
 */
export async function openSecret(
  source: SecretSource,
  given: {
    /** Of the driver. */
    readonly id: string;
    readonly baseDirectory: string;
    readonly log: Log;
  },
): Promise<SecretReader> {
  if ('env' in source) {
    const value = process.env[source.env];
    if (value === undefined || value === '') throw new Error(`the variable ${source.env} is not set`);
    const secret = new Secret(value);
    return async () => secret;
  }
  const file = new ChangingFile(resolve(given.baseDirectory, source.file.text), {
    parse: parseSecret,
    maxSize,
    onFailure: (error) =>
      given.log.error(
        { id: given.id, error: describeError(error) },
        'a secret cannot be read again; the last one stays',
      ),
  });
  await file.read().catch((error: unknown) => {
    throw new Error(describeError(error), { cause: error });
  });
  return () => file.read();
}

/** Editors and `echo` end a file with a line break that is not meant. */
function parseSecret(text: string): Secret {
  const value = text.replace(/(?:\r?\n)+$/, '');
  if (value === '') throw new Error('it is empty');
  return new Secret(value);
}
