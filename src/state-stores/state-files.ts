import { createHash, randomUUID } from 'node:crypto';
import { access, type FileHandle, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { CallOptions, Clock, Log, StateEntry } from '../contracts/index.js';
import { describeError, hasCode, RegistryError } from '../errors.js';

const entrySchema = z.object({
  key: z.string(),
  value: z.string(),
  version: z.string(),
  expiresAt: z.number().optional(),
});
const leftoverEnding = '.tmp';

/** Not I/O: the bytes were read, and are not what was written. No later try would find them better. */
class DamagedEntryError extends Error {}

/**
 * Entries, each in a file of its own that is replaced by rename after fsync, so that a crash leaves the old entry or
 * the new one, and whoever reads at the same time sees one of them. Says nothing of who may write when.
 */
export class StateFiles {
  readonly directory: string;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(directory: string, clock: Clock, log: Log) {
    this.directory = directory;
    this.#clock = clock;
    this.#log = log;
  }

  async read(key: string): Promise<StateEntry | undefined> {
    return this.#read(this.#path(key));
  }

  /** In the order of their keys. */
  async list(prefix: string, { signal }: CallOptions): Promise<readonly StateEntry[]> {
    const entries: StateEntry[] = [];
    for (const path of await this.paths()) {
      signal.throwIfAborted();
      const entry = await this.#read(path);
      if (entry?.key.startsWith(prefix)) entries.push(entry);
    }
    return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** @param beforeItCounts the last moment at which nothing has changed yet; the file is whole and not in its place */
  async write(
    key: string,
    value: string,
    ttl: number | undefined,
    beforeItCounts: (file: FileHandle) => Promise<void>,
  ): Promise<void> {
    const path = this.#path(key);
    const temporary = `${path}.${randomUUID()}${leftoverEnding}`;
    const expiry = ttl === undefined ? {} : { expiresAt: this.#clock.now() + ttl };
    try {
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(JSON.stringify({ key, value, version: randomUUID(), ...expiry }));
        await file.sync();
        await beforeItCounts(file);
      } finally {
        await file.close();
      }
      await rename(temporary, path);
      const directory = await open(this.directory, 'r');
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  async remove(key: string): Promise<void> {
    await rm(this.#path(key), { force: true });
  }

  /**
   * Deletes expired entries, which nobody may ask for again. Only while nothing is written.
   *
   * @returns how many are left
   */
  async removeExpired(): Promise<number> {
    let left = 0;
    for (const path of await this.paths()) {
      const isExpired = await readEntry(path).then(
        (entry) => entry !== undefined && this.#isExpired(entry),
        () => false, // a damaged one is told of where it is asked for
      );
      if (isExpired) await rm(path, { force: true });
      else left++;
    }
    return left;
  }

  /** Deletes what a crash in mid-write left behind. Only before anything is written. */
  async removeLeftovers(): Promise<void> {
    for (const name of await readdir(this.directory)) {
      if (name.endsWith(leftoverEnding)) await rm(join(this.directory, name), { force: true });
    }
  }

  /** Of the entries there are, expired ones too. */
  async paths(): Promise<readonly string[]> {
    const names = await readdir(this.directory);
    return names.filter((name) => name.endsWith('.json')).map((name) => join(this.directory, name));
  }

  /** @throws RegistryError UNAVAILABLE where the step fails; the signal's reason where nobody waits for it */
  async guard<T>(what: 'read' | 'write', { signal }: CallOptions, step: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    try {
      return await step();
    } catch (error) {
      signal.throwIfAborted();
      throw new RegistryError('UNAVAILABLE', {
        reason: `cannot ${what} the state in ${this.directory}`,
        cause: error,
      });
    }
  }

  /** Keys may hold any character, and file names not. */
  #path(key: string): string {
    return join(this.directory, `${createHash('sha256').update(key).digest('hex')}.json`);
  }

  async #read(path: string): Promise<StateEntry | undefined> {
    const entry = await readEntry(path).catch((error: unknown) => {
      if (!(error instanceof DamagedEntryError)) throw error;
      this.#log.error({ file: path, reason: describeError(error) }, 'a damaged state entry counts as absent');
      return undefined;
    });
    // A directory that is gone, as with a volume, must not look like an empty one.
    if (entry === undefined) await access(this.directory);
    return entry === undefined || this.#isExpired(entry) ? undefined : entry;
  }

  #isExpired({ expiresAt }: StateEntry): boolean {
    return expiresAt !== undefined && expiresAt <= this.#clock.now();
  }
}

async function readEntry(path: string): Promise<StateEntry | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  const { expiresAt, ...entry } = parseEntry(text);
  return expiresAt === undefined ? entry : { ...entry, expiresAt };
}

function parseEntry(text: string): z.output<typeof entrySchema> {
  try {
    return entrySchema.parse(JSON.parse(text));
  } catch {
    // Not the cause: its message could show what the entry holds.
    throw new DamagedEntryError('it is not what this store writes');
  }
}
