import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../errors.js';
import { maxSocketPath } from '../settings/socket-address.js';

/** Which file it is, whatever its name. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** A server that listens at the path, and nobody else does. */
export interface Claim {
  readonly server: Server;
  readonly identity: FileIdentity;
  /** Others may write into the directory, and put a socket of theirs there. */
  readonly isDirectoryOpen: boolean;
}

export interface ClaimOptions {
  /** Absolute. */
  readonly path: string;
  /** Permission bits of the socket. */
  readonly mode: number;
  /** Of its directory, and those above it, where they are not there yet. */
  readonly directoryMode: number;
  /** Also where somebody listens there: whoever is connected to him stays so. */
  readonly replace?: boolean;
  readonly newServer: () => Server;
}

/** Somebody listens at the path. The message is one line. */
export class SocketTaken extends Error {
  override readonly name = 'SocketTaken';
}

/** A directory may be deleted again and again, but not for ever. */
const maxRounds = 10;
/** Milliseconds in which somebody who listens lets us connect, however busy he is. */
const connectTimeout = 2_000;
/** Milliseconds between two looks at another instance that starts too, and how often. */
const lookEvery = 20;
const maxLooks = 250;

/**
 * Listens under a temporary name beside the path, with the socket's mode, and only then moves it there: nobody can connect
 * with more rights than `mode` gives, and whoever connects is answered.
 *
 * A socket that nobody listens at is replaced. Of several who start at once one gets the path: each listens before it
 * looks for others' temporary names, so of two at least one sees the other; the greater name gives up, and the smaller
 * one waits to see whether the other one has been faster.
 *
 * @throws an Error with a one-line message: somebody listens there, something else is there, it cannot be written, its
 * directory belongs to somebody else, the temporary name would be too long
 */
export async function claimSocket(options: ClaimOptions): Promise<Claim> {
  const { path, mode, directoryMode, replace = false, newServer } = options;
  const directory = dirname(path);
  const name = temporaryName(path);
  for (let round = 1; ; round++) {
    const temporary = join(directory, name);
    const server = newServer();
    try {
      await makeDirectory(directory, directoryMode);
      const isOpen = await isOpenToOthers(directory);
      await refuseOccupied(path, replace);
      await listenWithMode(server, temporary, mode);
      await refuseOthers(path, name);
      await refuseOccupied(path, replace);
      const identity = await identityOf(temporary);
      await rename(temporary, path);
      return { server, identity, isDirectoryOpen: isOpen };
    } catch (error) {
      server.close();
      await rm(temporary, { force: true }).catch(() => undefined);
      // The directory was deleted meanwhile, or another one took the name for a dead one's just before we listened.
      if (!hasCode(error, 'ENOENT') || round === maxRounds) throw asReason(error);
    }
  }
}

/** @throws an Error with a code where there is nothing */
export async function identityOf(path: string): Promise<FileIdentity> {
  const { dev, ino } = await lstat(path, { bigint: true });
  return { dev, ino };
}

/** A mode that is changed afterwards may be that of another file: whoever writes there can put a link in the socket's place. */
async function listenWithMode(server: Server, path: string, mode: number): Promise<void> {
  const before = process.umask(~mode & 0o777);
  try {
    server.listen(path); // binds at once, and tells later
  } finally {
    process.umask(before);
  }
  await once(server, 'listening');
}

/** One after the other: Node's own `recursive` never ends where a directory cannot be made for ENOENT, as under /proc. */
async function makeDirectory(directory: string, mode: number): Promise<void> {
  for (const missing of await missingDirectories(directory)) {
    try {
      await mkdir(missing, { mode });
    } catch (error) {
      if (hasCode(error, 'EEXIST')) continue;
      throw error;
    }
    await giveMode(missing, mode).catch(() => undefined); // deleted already: what follows tells
  }
}

/** @returns the outermost first */
async function missingDirectories(directory: string): Promise<readonly string[]> {
  const missing: string[] = [];
  for (let one = directory; ; one = dirname(one)) {
    try {
      const found = await stat(one);
      if (found.isDirectory()) return missing;
      throw new Error(`${one} is no directory`);
    } catch (error) {
      if (!hasCode(error, 'ENOENT') || one === dirname(one)) throw error;
      missing.unshift(one);
    }
  }
}

/** mkdir(2) takes the umask away. */
async function giveMode(directory: string, mode: number): Promise<void> {
  const opened = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    await opened.chmod(mode);
  } finally {
    await opened.close();
  }
}

/** A directory of somebody else. The message is one line. */
export class StrangeDirectory extends Error {
  override readonly name = 'StrangeDirectory';
}

/**
 * Whose directory it is may put another socket there, and is shown credentials then.
 *
 * @returns whether others may write there
 * @throws StrangeDirectory; an error of the file system
 */
export async function isOpenToOthers(directory: string): Promise<boolean> {
  const own = process.getuid?.();
  const found = await stat(directory);
  for (const { uid } of [found, await lstat(directory)]) {
    if (own === undefined || uid === own || uid === 0) continue;
    throw new StrangeDirectory(
      `its directory ${directory} belongs to user ${uid}, who could put another socket there: use one of root or of this user`,
    );
  }
  return (found.mode & 0o022) !== 0;
}

/** @throws an Error where the path is not free and not a dead socket's; or any socket's, where that may be replaced */
async function refuseOccupied(path: string, mayReplace: boolean): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw asReason(error);
  });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Error('something is there that is no socket: remove it, or use another path');
  if (!mayReplace && (await isAlive(path))) {
    throw new SocketTaken('another program listens there: stop it, or use another path');
  }
}

/** Deletes what a crash has left, and sees to it that one of several who start gets the path. */
async function refuseOthers(path: string, own: string): Promise<void> {
  const directory = dirname(path);
  const prefix = temporaryPrefix(path);
  const names = (await readdir(directory)).filter((name) => name.startsWith(prefix) && name !== own);
  for (const name of names) {
    const other = join(directory, name);
    for (let look = 0; await isAlive(other); look++) {
      if (name < own || look === maxLooks) throw new Error('another instance of this program starts there');
      await sleep(lookEvery);
    }
    await rm(other, { force: true });
  }
}

/** @returns false where nobody listens at the socket, or there is none. @throws where that cannot be told */
async function isAlive(path: string): Promise<boolean> {
  for (let round = 1; ; round++) {
    const answer = await connectTo(path);
    // It was closed while we waited to be accepted: whoever else listens there answers to the next one.
    if (answer === 'ECONNRESET' && round < maxRounds) continue;
    if (answer === 'ECONNREFUSED' || answer === 'ENOENT') return false;
    // EAGAIN: so many wait there that the kernel takes no more.
    if (['connected', 'nothing', 'EAGAIN', 'ECONNRESET'].includes(answer)) return true;
    throw new Error(`a socket is there, and whether anybody listens cannot be told: ${answer}`);
  }
}

/** @returns an error's code, or `nothing` where none came in time */
async function connectTo(path: string): Promise<string> {
  const socket = connect(path);
  try {
    return await new Promise((resolve) => {
      socket.once('connect', () => resolve('connected'));
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.setTimeout(connectTimeout, () => resolve('nothing'));
    });
  } finally {
    socket.destroy();
  }
}

/** How temporary names of a path begin: sockets beside each other have nothing to do with each other. */
export function temporaryPrefix(path: string): string {
  return `.~${createHash('sha256').update(basename(path)).digest('base64url').slice(0, 4)}`;
}

function temporaryName(path: string): string {
  const name = `${temporaryPrefix(path)}${randomBytes(4).toString('base64url')}`;
  if (Buffer.byteLength(join(dirname(path), name)) <= maxSocketPath) return name;
  throw new Error(
    `the path is too long: it is made under a name of ${name.length} bytes beside it first, ` +
      `which must fit into ${maxSocketPath} bytes too; use a shorter directory`,
  );
}

/** Node's messages name the temporary path, which says nothing to an operator. */
function asReason(error: unknown): Error {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined) return error as Error;
  if (syscall === 'mkdir') return new Error(`its directory cannot be made: ${code}`);
  return new Error(syscall === undefined ? code : `${syscall}: ${code}`);
}
