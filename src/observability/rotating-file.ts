import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Clock } from '../contracts/index.js';
import { hasCode } from '../errors.js';
import { endsLine, type LineTarget } from './log-stream.js';

/** Milliseconds between two looks at what stands at the path. */
const lookEvery = 1000;
/** Its group is who ships logs. The umask takes its share away. */
const mode = 0o640;
/** Appending keeps lines whole that another process writes, and begins anew after a truncation. A pipe is not waited for. */
const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

interface OpenFile {
  readonly handle: FileHandle;
  readonly device: bigint;
  readonly inode: bigint;
}

/**
 * A file of lines that a rotating tool may rename, truncate or take away: it is opened anew when another one or none
 * stands at its path, when it was asked for, and after each failure.
 */
export class RotatingFile implements LineTarget {
  readonly #path: string;
  readonly #clock: Clock;
  #file: OpenFile | undefined;
  #isWhole = true;
  #isStale = false;
  #lookedAt = 0;

  private constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /** @param path absolute. @throws an Error of Node's where it cannot be opened */
  static async open(path: string, clock: Clock): Promise<RotatingFile> {
    const file = new RotatingFile(path, clock);
    await file.ready();
    return file;
  }

  /** To be opened by the first `ready`. @param path absolute */
  static unopened(path: string, clock: Clock): RotatingFile {
    return new RotatingFile(path, clock);
  }

  /** The next `ready` opens what stands at the path then. */
  forget(): void {
    this.#isStale = true;
  }

  async ready(): Promise<boolean> {
    if (this.#isStale || (await this.#hasMoved())) await this.close();
    this.#file ??= await this.#open();
    return this.#isWhole;
  }

  async append(bytes: Buffer): Promise<number> {
    if (this.#file === undefined) throw new Error('the file is closed');
    try {
      const { bytesWritten } = await this.#file.handle.write(bytes);
      this.#isWhole = endsLine(bytes.subarray(0, bytesWritten), this.#isWhole);
      return bytesWritten;
    } catch (error) {
      if (!hasCode(error, 'EAGAIN')) await this.close();
      throw error;
    }
  }

  /** Never rejects. A file that was closed opens again when it is made ready. */
  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.close().catch(() => undefined);
  }

  async #open(): Promise<OpenFile> {
    this.#isStale = false;
    const handle = await open(this.#path, flags, mode);
    try {
      const found = await handle.stat({ bigint: true });
      if (found.isFile()) this.#isWhole = await endsWhole(this.#path, Number(found.size));
      this.#lookedAt = this.#clock.now();
      return { handle, device: found.dev, inode: found.ino };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async #hasMoved(): Promise<boolean> {
    const now = this.#clock.now();
    // A clock may be set back.
    if (this.#file === undefined || Math.abs(now - this.#lookedAt) < lookEvery) return false;
    this.#lookedAt = now;
    try {
      const found = await stat(this.#path, { bigint: true });
      return found.dev !== this.#file.device || found.ino !== this.#file.inode;
    } catch {
      return true;
    }
  }
}

/** A process that was killed, or a disk that was full, leaves half a line. */
async function endsWhole(path: string, size: number): Promise<boolean> {
  if (size === 0) return true;
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch {
    return true; // it may be written and not read
  }
  try {
    const last = Buffer.alloc(1);
    const { bytesRead } = await file.read(last, 0, 1, size - 1);
    return endsLine(last.subarray(0, bytesRead), true);
  } finally {
    await file.close();
  }
}
