import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { isSea } from 'node:sea';
import { pipeline } from 'node:stream/promises';

/** The file that runs: the self-contained executable, or a script where it is run by Node. */
export async function ownProgram(): Promise<string> {
  return realpath(isSea() ? process.execPath : (process.argv[1] ?? process.execPath));
}

/** @returns the SHA-256 of a file, in hexadecimal digits */
export async function fileHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
