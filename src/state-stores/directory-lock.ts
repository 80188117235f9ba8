import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import {
  type FileHandle,
  lutimes,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock, Log } from '../contracts/index.js';
import { describeError, hasCode } from '../errors.js';
import { shorten } from '../reference/repository-name.js';
import { describeHolder, type LockHolder, lifeOf, parseHolder, thisProcess } from './lock-holder.js';
import { OpenDirectory } from './open-directory.js';

/** Under this name in the directory it keeps; nothing else there may have it. */
export const lockName = 'lock';

/** How a holder shows that it lives, and how long others look before they take it for dead. */
export interface LockRhythm {
  /** Milliseconds between two touches. */
  readonly touchEvery: number;
  /** Milliseconds between two looks at somebody else's. */
  readonly lookEvery: number;
  /**
   * Looks in a row without a change. Counted, and not timed: a machine that was suspended wakes up with much time gone
   * by and nothing touched.
   */
  readonly looks: number;
}

/** Six seconds and a half without one of three touches. */
const usualRhythm: LockRhythm = { touchEvery: 2_000, lookEvery: 250, looks: 26 };
const maxRounds = 1_000;
/** Bytes of a holder's file that are read. */
const maxHolderSize = 4_096;
/** Characters of an error's text. */
const maxReason = 1_024;

/** Somebody else holds the directory. One line, for the operator. */
export class DirectoryInUseError extends Error {
  override readonly name = 'DirectoryInUseError';
}

export interface LockParts {
  readonly clock: Clock;
  readonly log: Log;
  /** Told every two seconds, and before each write, whether the lock could be shown to be this process's. */
  readonly onProof?: (isOurs: boolean) => void;
}

/**
 * Keeps a directory for one process, among processes of one machine, of several containers and of several machines
 * that share it. Node has no flock(2).
 *
 * The lock is a directory of its own, `lock/`, that holds one file with a random name: its holder's. It is made beside
 * and moved into place, and rename(2) replaces an empty directory only: of several who try, one succeeds. A dead
 * holder's file is deleted by its name, which can never be another's, so that who was slow to find it dead takes
 * nothing away from who was faster; and whoever finds his own file there holds the lock.
 */
export class DirectoryLock {
  readonly #directory: string;
  readonly #file: string;
  readonly #log: Log;
  readonly #onProof: (isOurs: boolean) => void;
  readonly #timer: NodeJS.Timeout;
  #isTold = false;
  #isReleased = false;

  private constructor(directory: string, file: string, parts: LockParts, touchEvery: number) {
    this.#directory = directory;
    this.#file = file;
    this.#log = parts.log;
    this.#onProof = parts.onProof ?? (() => undefined);
    let underWay = false;
    this.#timer = setInterval(() => {
      if (underWay) return;
      underWay = true;
      // What else is wrong with the directory is told to who writes.
      this.prove()
        .catch(() => undefined)
        .finally(() => {
          underWay = false;
        });
    }, touchEvery);
    this.#timer.unref();
  }

  /**
   * Takes a dead process's at once where that can be told by its pid, and otherwise once its file was not touched for
   * seconds.
   *
   * @throws DirectoryInUseError; an Error where the directory cannot be written
   */
  static async take(directory: string, parts: LockParts, rhythm = usualRhythm): Promise<DirectoryLock> {
    const { clock, log } = parts;
    const id = randomUUID();
    const file = join(directory, lockName, id);
    const candidate = join(directory, `${lockName}.${id}.new`);
    const me = await thisProcess(clock.now());
    const others = new Others(join(directory, lockName), me, log, rhythm);
    try {
      for (let round = 0; !(await moveIn(candidate, file, JSON.stringify(me))); round++) {
        if (round === maxRounds) throw new DirectoryInUseError(`${directory} is in use by one after another`);
        if (!(await others.removeDead(directory))) await sleep(rhythm.lookEvery);
      }
      await removeLeftovers(directory);
    } catch (error) {
      if (error instanceof DirectoryInUseError) throw error;
      // Its text holds names of files, which others may have made.
      const cause = new Error(shorten(describeError(error), maxReason));
      throw new Error(`cannot lock ${directory}`, { cause });
    } finally {
      await discard(candidate).catch(() => undefined);
    }
    return new DirectoryLock(directory, file, parts, rhythm.touchEvery);
  }

  /**
   * Shows others that this process lives, and fails where the lock is not its own any more: it was deleted, or taken
   * over while this process stood still.
   *
   * @throws an Error saying so
   */
  async prove(): Promise<void> {
    if (this.#isReleased) throw new Error('it is closed');
    try {
      await touch(this.#file);
      this.#onProof(true);
      this.#isTold = false;
    } catch (error) {
      if (this.#isReleased) throw new Error('it is closed');
      this.#onProof(false);
      // A volume that is away for a moment takes the lock along, and brings it back.
      if (!isGone(error) || !(await isDirectory(this.#directory))) throw error;
      const reason = `${this.#file} was deleted, or another process took over`;
      if (!this.#isTold) {
        this.#isTold = true;
        this.#log.error(
          { directory: this.#directory, reason },
          'this process does not hold its state directory any more: nothing is written to it; restart it',
        );
      }
      throw new Error(`the directory is not this process's any more: ${reason}`);
    }
  }

  /** Never rejects; a second call does nothing. */
  async release(): Promise<void> {
    this.#isReleased = true;
    clearInterval(this.#timer);
    await removeFrom(join(this.#directory, lockName), this.#file).catch(() => undefined);
  }
}

/** Those who hold the lock while we want it. */
class Others {
  readonly #place: string;
  readonly #me: LockHolder;
  readonly #log: Log;
  readonly #rhythm: LockRhythm;
  /** What was seen of those whose pid says nothing, by their file. */
  readonly #watched = new Map<string, { readonly touched: bigint; looks: number }>();

  constructor(place: string, me: LockHolder, log: Log, rhythm: LockRhythm) {
    this.#place = place;
    this.#me = me;
    this.#log = log;
    this.#rhythm = rhythm;
  }

  /**
   * @returns whether one was removed
   * @throws DirectoryInUseError
   */
  async removeDead(directory: string): Promise<boolean> {
    const place = await OpenDirectory.open(this.#place);
    if (place === undefined) return false;
    try {
      let isRemoved = false;
      for (const name of await place.names()) {
        const gone = await this.#asGone(directory, place, name);
        if (gone === undefined) continue;
        await place.remove(name);
        isRemoved = true;
        this.#log.warn({ file: join(place.path, name), ...gone.holder }, gone.message);
      }
      // Not every file system's rename replaces an empty directory.
      await rmdir(place.path).catch(() => undefined);
      return isRemoved;
    } finally {
      await place.close();
    }
  }

  /**
   * @returns what to tell of it where it holds nothing any more
   * @throws DirectoryInUseError
   */
  async #asGone(directory: string, place: OpenDirectory, name: string) {
    const found = await readHolder(place.at(name));
    if (found === undefined) return undefined;
    if (found === 'garbage') return { message: 'what is no file was removed from the lock' };
    const { holder, touched } = found;
    const told = holder === undefined ? 'unknown' : await lifeOf(holder, this.#me);
    const life = told === 'unknown' ? this.#watch(name, touched) : told;
    if (life === 'alive') {
      throw new DirectoryInUseError(
        `${directory} is in use by ${describeHolder(holder, this.#me)}: ` +
          'stop that one, or give this one a directory of its own',
      );
    }
    if (life === 'unknown') return undefined;
    return { holder, message: 'the lock of a process that is gone was taken over' };
  }

  /** By change alone: two machines' clocks say nothing to each other. */
  #watch(name: string, touched: bigint): 'alive' | 'dead' | 'unknown' {
    const before = this.#watched.get(name);
    if (before === undefined) {
      this.#watched.set(name, { touched, looks: 0 });
      return 'unknown';
    }
    if (before.touched !== touched) return 'alive';
    return ++before.looks >= this.#rhythm.looks ? 'dead' : 'unknown';
  }
}

/** @returns false where there is another */
async function moveIn(candidate: string, file: string, text: string): Promise<boolean> {
  await mkdir(candidate, { mode: 0o700 }).catch((error: unknown) => {
    if (!hasCode(error, 'EEXIST')) throw error;
  });
  try {
    await writeIn(candidate, basename(file), text);
    await rename(candidate, join(file, '..'));
    // Whoever took the lock before us may have cleaned up just before it let go, and moved is what was left.
    await touch(file);
    return true;
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].some((code) => hasCode(error, code))) return false;
    throw error;
  }
}

/** Once; what is there from an earlier round stays. Follows no link that somebody has put there meanwhile. */
async function writeIn(candidate: string, name: string, text: string): Promise<void> {
  const place = await OpenDirectory.open(candidate);
  try {
    await (place && writeFile(place.at(name), text, { mode: 0o600, flag: 'wx' }));
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  } finally {
    await place?.close();
  }
}

/** Leaves what others have put there meanwhile. */
async function removeFrom(place: string, file: string): Promise<void> {
  await rm(file, { force: true });
  // Not every file system's rename replaces an empty directory.
  await rmdir(place).catch(() => undefined);
}

/** What a crash left behind between making and moving. Who is at it just now makes it anew. */
async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.startsWith(`${lockName}.`) || !name.endsWith('.new')) continue;
    await discard(join(directory, name)).catch(() => undefined);
  }
}

/** Not recursively: there is one file in it, and what else somebody has put there is his. */
async function discard(candidate: string): Promise<void> {
  const place = await OpenDirectory.open(candidate);
  if (place === undefined) return;
  try {
    for (const name of await place.names()) await place.remove(name);
  } finally {
    await place.close();
  }
  await rmdir(candidate);
}

/** @returns undefined where it is gone; `garbage` where it is no file, which no holder makes */
async function readHolder(
  file: string,
): Promise<{ readonly holder: LockHolder | undefined; readonly touched: bigint } | 'garbage' | undefined> {
  let handle: FileHandle | undefined;
  try {
    // Opened, and not only looked at: NFS shows who opens a file what others have done to it. And without waiting for
    // who would write to a pipe.
    handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile()) return 'garbage';
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(maxHolderSize) });
    return { holder: parseHolder(buffer.toString('utf8', 0, bytesRead)), touched: stats.mtimeNs };
  } catch (error) {
    if (isGone(error)) return undefined;
    if (hasCode(error, 'ELOOP') || hasCode(error, 'ENXIO')) return 'garbage'; // a link, a socket
    throw error;
  } finally {
    await handle?.close();
  }
}

async function touch(file: string): Promise<void> {
  const now = new Date(); // the machine's: a file's time is of use only where it changes
  await lutimes(file, now, now);
}

/** ESTALE: deleted by another machine that shares the directory. */
function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ESTALE'].some((code) => hasCode(error, code));
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
