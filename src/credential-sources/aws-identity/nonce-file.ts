import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { hasCode } from '../../errors.js';
import { writeOnce } from '../../settings/write-once.js';

/** Base64url of 16 to 64 bytes, as the verifier takes it. */
const form = /^[A-Za-z0-9_-]{22,86}$/;
/** Bytes. */
const size = 32;
const root = 0;
const othersMay = 0o077;

/**
 * The nonce in a file.
 *
 * @returns undefined where there is no such file
 * @throws an Error with a one-line message where it holds anything else, and where others may read or write it
 */
export async function readNonce(file: string): Promise<string | undefined> {
  const read = await readWithStats(file).catch((cause: unknown) => {
    if (hasCode(cause, 'ENOENT')) return undefined;
    throw new Error(`cannot read ${file}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  });
  if (read === undefined) return undefined;
  requireOwn(file, read.stats);
  const nonce = read.text.trim();
  if (form.test(nonce)) return nonce;
  throw new Error(`${file} holds no nonce; expected 22 to 86 letters, digits, - and _`);
}

/**
 * The nonce in a file, which is made with mode 0600 where it is absent. It appears whole or not at all, and of several
 * processes that make it at the same moment all get that of the first.
 *
 * @throws an Error with a one-line message
 */
export async function nonceIn(file: string): Promise<string> {
  const known = await readNonce(file);
  if (known !== undefined) return known;
  await writeOnce(file, `${randomBytes(size).toString('base64url')}\n`);
  const made = await readNonce(file);
  if (made === undefined) throw new Error(`cannot make ${file}: it is gone again`);
  return made;
}

/** Both of the same file, whoever puts another one in its place. */
async function readWithStats(file: string): Promise<{ readonly text: string; readonly stats: Stats }> {
  let opened: FileHandle | undefined;
  try {
    opened = await open(file, 'r');
    return { text: await opened.readFile('latin1'), stats: await opened.stat() };
  } finally {
    await opened?.close();
  }
}

/** Who knows the nonce is this machine to a verifier, and who can write the file can lock it out. */
function requireOwn(file: string, { mode, uid }: Stats): void {
  const own = process.geteuid?.();
  // Windows, whose modes say nothing.
  if (own === undefined) return;
  if (uid !== own && uid !== root) {
    throw new Error(`${file} belongs to user ${uid}, and this is user ${own}: it must be ours, or root's`);
  }
  if ((mode & othersMay) !== 0) {
    const printed = (mode & 0o777).toString(8).padStart(4, '0');
    throw new Error(`others may read or write ${file} (mode ${printed}): make it ours alone (chmod 600)`);
  }
}
