import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { z } from 'zod';
import type { StateEntry } from '../contracts/index.js';
import { hasCode } from '../errors.js';

const entrySchema = z.object({
  key: z.string(),
  value: z.string(),
  version: z.string(),
  expiresAt: z.number().optional(),
});
const nameGrammar = /^[0-9a-f]{64}\.json$/;
/** Bytes. The largest value, each byte as six (`\u0000`), and the rest. */
const maxSize = 400_000;

/** Not I/O: what is there is not what was written there. No later try would find it better. */
export class DamagedEntryError extends Error {}

/** Somebody else wrote it, or may have. */
export class ForeignEntryError extends DamagedEntryError {}

/** Keys may hold any character, and file names not. */
export function entryName(key: string): string {
  return `${createHash('sha256').update(key).digest('hex')}.json`;
}

/** True for what `entryName` makes of some key. */
export function isEntryName(name: string): boolean {
  return nameGrammar.test(name);
}

/**
 * Of those who share the directory each can make files in it and rename those of others. So an entry counts where its
 * key is the one that its name stands for, and where the owner made it and not every user may write it.
 *
 * @param owner the uid whose entries count
 * @returns undefined where there is none
 * @throws DamagedEntryError, ForeignEntryError; other errors where it cannot be read now
 */
export async function readEntry(path: string, owner: number): Promise<StateEntry | undefined> {
  const file = await openEntry(path, owner);
  if (file === undefined) return undefined;
  let text: string;
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new DamagedEntryError('it is not a regular file');
    const reason = whyForeign(stats, owner);
    if (reason !== undefined) throw new ForeignEntryError(reason);
    if (stats.size > maxSize) throw new DamagedEntryError(`it is over ${maxSize} bytes`);
    text = await file.readFile('utf8');
  } finally {
    await file.close();
  }
  const { expiresAt, ...entry } = parseEntry(text);
  if (entryName(entry.key) !== basename(path)) throw new DamagedEntryError('it is the entry of another key');
  return expiresAt === undefined ? entry : { ...entry, expiresAt };
}

/**
 * Why a file does not count as written by the owner alone: one line, for the operator.
 *
 * @returns undefined where it counts
 */
export function whyForeign({ uid, mode }: Pick<Stats, 'uid' | 'mode'>, owner: number): string | undefined {
  if (uid !== owner) return `it belongs to user ${uid}, and the proxy is user ${owner}`;
  // A group may: Kubernetes makes it so with all files of a volume (`fsGroup`), and the directory was warned of.
  if ((mode & 0o002) !== 0) return `its mode, ${printMode(mode)}, lets others write it`;
  return undefined;
}

/** `0660`, as chmod(1) takes it. */
export function printMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** Never waits: a pipe that nobody writes to would hold one of the few threads for files, for ever. */
async function openEntry(path: string, owner: number): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    // ELOOP: a link. ENXIO: a socket.
    if (hasCode(error, 'ELOOP') || hasCode(error, 'ENXIO'))
      throw new DamagedEntryError('it is not a regular file');
    if (!hasCode(error, 'EACCES')) throw error;
    // What others do not let us read must not make all entries unreadable.
    const stats = await lstat(path).catch(() => undefined);
    const reason = stats && whyForeign(stats, owner);
    throw reason === undefined ? error : new ForeignEntryError(reason);
  }
}

function parseEntry(text: string): z.output<typeof entrySchema> {
  try {
    return entrySchema.parse(JSON.parse(text));
  } catch {
    // Not the cause: its message could show what the entry holds.
    throw new DamagedEntryError('it is not what this store writes');
  }
}
