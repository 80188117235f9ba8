import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CallOptions, Clock, Log, StateEntry } from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import type { Owner } from './directory-owner.js';
import {
  DamagedEntryError,
  entryName,
  ForeignEntryError,
  isEntryName,
  readEntry,
  whyForeign,
} from './entry-file.js';

const leftoverGrammar = /^[0-9a-f]{64}\.json\.[0-9a-f-]+\.tmp$/;

/**
 * Entries, each in a file of its own that is replaced by rename after fsync, so that a crash leaves the old entry or
 * the new one, and whoever reads at the same time sees one of them. Says nothing of who may write when.
 */
export class StateFiles {
  readonly directory: string;
  /** Whose files count. */
  readonly owner: () => Promise<Owner>;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(directory: string, owner: () => Promise<Owner>, clock: Clock, log: Log) {
    this.directory = directory;
    this.owner = owner;
    this.#clock = clock;
    this.#log = log;
  }

  async read(key: string): Promise<StateEntry | undefined> {
    return this.#read(this.#path(key), await this.owner());
  }

  /** In the order of their keys. */
  async list(prefix: string, { signal }: CallOptions): Promise<readonly StateEntry[]> {
    const entries: StateEntry[] = [];
    const owner = await this.owner();
    for (const path of await this.#paths()) {
      signal.throwIfAborted();
      const entry = await this.#read(path, owner);
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
    const { uid } = await this.owner();
    const path = this.#path(key);
    const temporary = `${path}.${randomUUID()}.tmp`;
    const expiry = ttl === undefined ? {} : { expiresAt: this.#clock.now() + ttl };
    try {
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(JSON.stringify({ key, value, version: randomUUID(), ...expiry }));
        await file.sync();
        await beforeItCounts(file);
        const reason = whyForeign(await file.stat(), uid);
        if (reason !== undefined) throw new Error(`what is written there would not count: ${reason}`);
      } finally {
        await file.close();
      }
      await rename(temporary, path);
      const directory = await open(this.directory, constants.O_RDONLY | constants.O_DIRECTORY);
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
    const foreign: ForeignEntryError[] = [];
    const { uid } = await this.owner();
    for (const path of await this.#paths()) {
      const isExpired = await readEntry(path, uid).then(
        (entry) => entry !== undefined && this.#isExpired(entry),
        (error: unknown) => {
          if (error instanceof ForeignEntryError) foreign.push(error);
          return false; // a damaged one is told of where it is asked for
        },
      );
      if (isExpired) await rm(path, { force: true });
      else left++;
    }
    // All at once where a proxy runs as another user now, and nobody would see why every login is gone.
    if (foreign.length > 0) {
      this.#log.warn(
        { directory: this.directory, entries: foreign.length, reason: describeError(foreign[0]) },
        'state entries that others wrote, or may write, count as absent; where they are good, chown and chmod them (0600)',
      );
    }
    return left;
  }

  /** Deletes what a crash in mid-write left behind. Only before anything is written. */
  async removeLeftovers(): Promise<void> {
    for (const name of await readdir(this.directory)) {
      if (!leftoverGrammar.test(name)) continue;
      // It is in nobody's way.
      await rm(join(this.directory, name), { force: true }).catch(() => undefined);
    }
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

  #path(key: string): string {
    return join(this.directory, entryName(key));
  }

  /** Of the entries there are, expired ones too. */
  async #paths(): Promise<readonly string[]> {
    const names = await readdir(this.directory);
    return names.filter(isEntryName).map((name) => join(this.directory, name));
  }

  async #read(path: string, { uid }: Owner): Promise<StateEntry | undefined> {
    const entry = await readEntry(path, uid).catch((error: unknown) => {
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
