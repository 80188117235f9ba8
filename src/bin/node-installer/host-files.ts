import { createHash, randomBytes } from 'node:crypto';
import { constants, createReadStream, type Stats } from 'node:fs';
import { chmod, lstat, mkdir, open, readdir, readlink, rename, rm, unlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import type { FileContent, NodeFileStat, NodeFiles } from '../../contracts/node.js';
import { describeError, hasCode } from '../../errors.js';

/** Bytes: no configuration of a node is longer. */
const longestText = 1024 * 1024;
/** As Linux has it (path_resolution(7)). */
const mostLinks = 40;
/** Of copies: an executable has a hundred megabytes. */
const pieceLength = 1024 * 1024;
/** Of temporary files. */
const temporaryEnd = '.kubelet-image-service';
/** Milliseconds after which nobody writes one any more. */
const longestWrite = 60 * 60_000;

/** Files of a node below a directory, `/` where it is this machine. Links are followed as the node would. */
export class HostFiles implements NodeFiles {
  readonly #root: string;

  /** @param root an absolute path */
  constructor(root = '/') {
    this.#root = root;
  }

  read(path: string): Promise<string | undefined> {
    return told('read', path, async () => {
      const place = await this.#resolve(path);
      if (!(await isThere(place))) return undefined;
      // Not waiting for a pipe's other end.
      const file = await open(place, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
      try {
        if (!(await file.stat()).isFile()) throw new Error('a file was expected');
        return await boundedText(file);
      } finally {
        await file.close();
      }
    });
  }

  list(directory: string): Promise<readonly string[]> {
    return told('list', directory, async () => {
      const place = await this.#resolve(directory);
      return (await isThere(place)) ? (await readdir(place)).sort() : [];
    });
  }

  stat(path: string): Promise<NodeFileStat | undefined> {
    return told('look at', path, async () => {
      const place = await this.#resolve(path);
      const found = await statOf(place);
      if (found === undefined) return undefined;
      const kind = found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other';
      const realPath = `/${relative(this.#root, place)}`;
      return { kind, size: found.size, mode: found.mode & 0o7777, owner: this.#owner(found), realPath };
    });
  }

  hash(path: string): Promise<string | undefined> {
    return told('read', path, async () => {
      const place = await this.#resolve(path);
      const found = await statOf(place);
      if (found === undefined) return undefined;
      if (!found.isFile()) throw new Error('a file was expected');
      const hash = createHash('sha256');
      for await (const piece of createReadStream(place)) hash.update(piece as Buffer);
      return hash.digest('hex');
    });
  }

  write(path: string, content: FileContent, mode: number): Promise<void> {
    return told('write', path, async () => {
      const directory = await this.#resolve(dirname(path));
      await makeDirectories(directory);
      const place = join(directory, basename(path));
      await sweep(directory, basename(path), Date.now() - longestWrite);
      // Another process may be writing the same file.
      const temporary = join(
        directory,
        `.${basename(path)}.${randomBytes(6).toString('hex')}${temporaryEnd}`,
      );
      try {
        await writeNew(temporary, content, mode);
        await rename(temporary, place);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
      await sync(directory);
    });
  }

  remove(path: string): Promise<void> {
    return told('remove', path, async () => {
      // A link itself, not what it names.
      const directory = await this.#resolve(dirname(path));
      await sweep(directory, basename(path), Number.POSITIVE_INFINITY);
      try {
        await unlink(join(directory, basename(path)));
      } catch (error) {
        if (isAbsence(error)) return;
        throw error;
      }
      await sync(directory);
    });
  }

  /** Whoever makes the files of an image of nodes need not be root: what is his will be root's. */
  #owner({ uid }: Stats): number {
    return this.#root !== '/' && uid === process.getuid?.() ? 0 : uid;
  }

  /**
   * The node's path here, with no link left in it. The kernel would follow an absolute link from our own root, and a
   * relative one past the node's.
   */
  async #resolve(path: string): Promise<string> {
    if (!path.startsWith('/')) throw new Error('an absolute path was expected');
    const ahead = path.split('/').filter(Boolean);
    const behind: string[] = [];
    for (let links = 0; ahead.length > 0; ) {
      const name = ahead.shift() ?? '';
      if (name === '.') continue;
      if (name === '..') {
        behind.pop();
        continue;
      }
      const target = await linkAt(join(this.#root, ...behind, name));
      if (target === undefined) {
        behind.push(name);
        continue;
      }
      links += 1;
      if (links > mostLinks) throw new Error('too many links');
      if (target.startsWith('/')) behind.length = 0;
      ahead.unshift(...target.split('/').filter(Boolean));
    }
    return join(this.#root, ...behind);
  }
}

/**
 * Takes away what writers of a file have left that did not come to their end. Whatever goes wrong, it keeps nobody from
 * writing.
 *
 * @param before milliseconds since 1970, by which it was written
 */
async function sweep(directory: string, name: string, before: number): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const one of names.filter((other) => isTemporaryOf(name, other))) {
    const place = join(directory, one);
    const found = await lstat(place).catch(() => undefined);
    if (found === undefined || found.isDirectory() || found.mtimeMs >= before) continue;
    await rm(place, { force: true }).catch(() => undefined);
  }
}

/** Earlier versions had one name for all writers of a file. */
function isTemporaryOf(name: string, other: string): boolean {
  if (!other.startsWith(`.${name}.`) || !other.endsWith(temporaryEnd)) return false;
  return /^(?:[\da-f]{12})?$/.test(other.slice(name.length + 2, -temporaryEnd.length));
}

async function linkAt(place: string): Promise<string | undefined> {
  try {
    return await readlink(place);
  } catch (error) {
    if (isAbsence(error) || hasCode(error, 'EINVAL')) return undefined;
    throw error;
  }
}

/** Nothing there, or a file where a directory would have to be. */
function isAbsence(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR');
}

async function statOf(place: string): Promise<Stats | undefined> {
  try {
    return await lstat(place);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

async function isThere(place: string): Promise<boolean> {
  return (await statOf(place)) !== undefined;
}

type OpenFile = Awaited<ReturnType<typeof open>>;

/** The length of files in /proc is told as 0: only reading shows it. */
async function boundedText(file: OpenFile): Promise<string> {
  const buffer = Buffer.alloc(longestText + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) return buffer.toString('utf8', 0, length);
    length += bytesRead;
    if (length > longestText) throw new Error('it is longer than 1 MiB');
  }
}

async function writeNew(place: string, content: FileContent, mode: number): Promise<void> {
  // `wx`: nobody's link is written through.
  const file = await open(place, 'wx', 0o600);
  try {
    if (typeof content === 'string') await file.writeFile(content);
    else await copy(content.copyOf, file);
    // Past the process's umask.
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function copy(source: string, to: OpenFile): Promise<void> {
  for await (const piece of createReadStream(source, { highWaterMark: pieceLength })) {
    await to.writeFile(piece as Buffer);
  }
}

async function makeDirectories(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true });
  if (first === undefined) return;
  for (let made = directory; made.length >= first.length; made = dirname(made)) {
    // Past the process's umask.
    await chmod(made, 0o755);
    // A new name is on the disk only with the directory it stands in.
    await sync(dirname(made));
  }
}

async function sync(directory: string): Promise<void> {
  const opened = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}

/** Says what was tried, by the node's own path, before what went wrong. */
async function told<T>(what: string, path: string, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    throw new Error(`cannot ${what} ${path}: ${describeError(error)}`, { cause: error });
  }
}
