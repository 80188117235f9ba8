import type { Stats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../contracts/index.js';
import { lockName } from './directory-lock.js';
import { isEntryName, printMode } from './entry-file.js';

/** Whose files count in a state directory. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const root = 0;
const [groupWrites, othersWrite, sticky] = [0o020, 0o002, 0o1000];

/** Whom the kernel takes this process for. */
export function thisUser(): Owner {
  return { uid: process.geteuid?.() ?? root, gid: process.getegid?.() ?? root };
}

/** @throws an Error, in one line, where every user may write in the directory */
export function refuseWorldWritable(directory: string, { mode }: Pick<Stats, 'mode'>): void {
  if ((mode & othersWrite) === 0) return;
  throw new Error(
    `every user may write in ${directory} (mode ${printMode(mode)}): take that away (chmod o-w), ` +
      'or name a directory in it that is not there yet: it is made for this process alone',
  );
}

/**
 * Who may write there can delete an entry, bring back a deleted one, and may be able to change one. Told and not refused: the
 * volumes of Kubernetes belong to root, and to a group that may write (`fsGroup`).
 */
export function warnOfSharedDirectory(
  directory: string,
  { mode, uid }: Pick<Stats, 'mode' | 'uid'>,
  log: Log,
): void {
  // In a sticky directory a file is renamed and deleted by its owner, and the directory's.
  const byGroup = (mode & groupWrites) !== 0 && (mode & sticky) === 0;
  if (!byGroup && (uid === root || uid === thisUser().uid)) return;
  log.warn(
    { directory, mode: printMode(mode), owner: uid },
    'others may write in the state directory: they can change entries, delete them, and bring back deleted ones',
  );
}

/**
 * Whose the state is, as who is not its process finds out: by its lock and its entries and not by the directory, for a
 * volume is often root's and lets a group write.
 *
 * @throws an Error where this process is neither that user nor root; where it is root and cannot tell, because others
 *   have put files there; where the directory cannot be read
 */
export async function ownerOfState(directory: string): Promise<Owner> {
  const found = new Map<number, Owner>();
  for (const name of [lockName, ...(await readdir(directory)).filter(isEntryName)]) {
    // Anything may be gone by now.
    const stats = await lstat(join(directory, name)).catch(() => undefined);
    if (stats !== undefined && !found.has(stats.uid)) found.set(stats.uid, stats);
  }
  if (found.size === 0) {
    const stats = await stat(directory);
    found.set(stats.uid, stats);
  }
  const me = thisUser();
  const [only, ...others] = found.values();
  if (me.uid !== root && found.has(me.uid)) return me;
  if (me.uid === root && only !== undefined && others.length === 0) return { uid: only.uid, gid: only.gid };
  const users = [...found.keys()].sort((a, b) => a - b).join(', ');
  throw new Error(
    me.uid === root
      ? `its files belong to several users (${users}): run this as the user the proxy runs as, or delete the others' files`
      : `its files belong to user ${users}, and this process is user ${me.uid}: run it as the user the proxy runs as, or as root`,
  );
}
