import { constants } from 'node:fs';
import { type FileHandle, open, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../errors.js';

/**
 * A directory that is held open, so that nobody who may write beside it can put another one, or a link to one, in its
 * place between two steps: what is deleted here was there. Node has no openat(2); where there is no /proc the name
 * stands for it again.
 */
export class OpenDirectory {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #reached: string;

  private constructor(path: string, handle: FileHandle, reached: string) {
    this.path = path;
    this.#handle = handle;
    this.#reached = reached;
  }

  /**
   * @returns undefined where there is none
   * @throws an Error where it is a link, or no directory
   */
  static async open(path: string): Promise<OpenDirectory | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
    const byHandle = `/proc/self/fd/${handle.fd}`;
    const isReached = await stat(byHandle).then(
      (found) => found.isDirectory(),
      () => false,
    );
    return new OpenDirectory(path, handle, isReached ? byHandle : path);
  }

  /** In no order; none where it was deleted meanwhile. */
  async names(): Promise<readonly string[]> {
    try {
      return await readdir(this.#reached);
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ESTALE')) return [];
      throw error;
    }
  }

  /** Where file calls find `name`. For a message it is `join(path, name)`. */
  at(name: string): string {
    return join(this.#reached, name);
  }

  /** Also where it is gone already; a directory only where it is empty. */
  async remove(name: string): Promise<void> {
    try {
      await rm(this.at(name), { force: true });
    } catch (error) {
      if (!hasCode(error, 'ERR_FS_EISDIR')) throw error;
      await rmdir(this.at(name));
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}
