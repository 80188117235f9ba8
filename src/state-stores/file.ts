import { createHash, randomUUID } from 'node:crypto';
import { access, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, Clock, Log, StateEntry, StateStore } from '../contracts/index.js';
import { describeError, hasCode, RegistryError } from '../errors.js';
import { ownDirectory } from '../settings/file-path.js';
import { checkEntry } from './entry.js';
import { SweepSchedule } from './sweep-schedule.js';

const entrySchema = z.object({
  key: z.string(),
  value: z.string(),
  version: z.string(),
  expiresAt: z.number().optional(),
});

/** Not I/O: the bytes were read, and are not what was written. No later try would find them better. */
class DamagedEntryError extends Error {}

/**
 * Keeps each entry in a file of its own, replaced by rename after fsync, so a crash leaves the old entry or the new
 * one. For one process: compareAndSet is atomic within it.
 */
export class FileStateStore implements StateStore {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #sweeps = new SweepSchedule();
  #last: Promise<unknown> = Promise.resolve();

  constructor(directory: string, clock: Clock, log: Log) {
    this.#directory = directory;
    this.#clock = clock;
    this.#log = log;
  }

  async get(key: string, o: CallOptions): Promise<StateEntry | undefined> {
    o.signal.throwIfAborted();
    return this.#guard('read', o, () => this.#read(this.#path(key)));
  }

  async put(key: string, value: string, o: CallOptions & { readonly ttl?: number }): Promise<void> {
    checkEntry(key, value);
    await this.#inTurn(o, () => this.#write(key, value, o.ttl));
  }

  async compareAndSet(
    key: string,
    version: string | undefined,
    value: string,
    o: CallOptions & { readonly ttl?: number },
  ): Promise<boolean> {
    checkEntry(key, value);
    return this.#inTurn(o, async () => {
      if ((await this.#read(this.#path(key)))?.version !== version) return false;
      await this.#write(key, value, o.ttl);
      return true;
    });
  }

  async delete(key: string, o: CallOptions): Promise<void> {
    await this.#inTurn(o, () => rm(this.#path(key), { force: true }));
  }

  async list(prefix: string, o: CallOptions): Promise<readonly StateEntry[]> {
    o.signal.throwIfAborted();
    return this.#guard('read', o, async () => {
      const entries: StateEntry[] = [];
      for (const name of await this.#files()) {
        o.signal.throwIfAborted();
        const entry = await this.#read(join(this.#directory, name));
        if (entry?.key.startsWith(prefix)) entries.push(entry);
      }
      return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
    });
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
  }

  /** Deletes expired entries, which nobody may ask for again. Only while nothing is written. */
  async sweep(): Promise<void> {
    let left = 0;
    for (const name of await this.#files()) {
      const path = join(this.#directory, name);
      const expired = await readEntry(path).then(
        (entry) => entry !== undefined && this.#isExpired(entry),
        () => false, // a damaged one is told of where it is asked for
      );
      if (expired) await rm(path, { force: true });
      else left++;
    }
    this.#sweeps.done(left);
  }

  #path(key: string): string {
    return join(this.#directory, `${createHash('sha256').update(key).digest('hex')}.json`);
  }

  async #files(): Promise<readonly string[]> {
    return (await readdir(this.#directory)).filter((name) => name.endsWith('.json'));
  }

  async #read(path: string): Promise<StateEntry | undefined> {
    const entry = await readEntry(path).catch((error: unknown) => {
      if (!(error instanceof DamagedEntryError)) throw error;
      this.#log.error({ file: path, reason: describeError(error) }, 'a damaged state entry counts as absent');
      return undefined;
    });
    // A directory that is gone, as with a volume, must not look like an empty one.
    if (entry === undefined) await access(this.#directory);
    return entry === undefined || this.#isExpired(entry) ? undefined : entry;
  }

  #isExpired({ expiresAt }: StateEntry): boolean {
    return expiresAt !== undefined && expiresAt <= this.#clock.now();
  }

  async #write(key: string, value: string, ttl: number | undefined): Promise<void> {
    const path = this.#path(key);
    const temporary = `${path}.${randomUUID()}.tmp`;
    const expiry = ttl === undefined ? {} : { expiresAt: this.#clock.now() + ttl };
    try {
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(JSON.stringify({ key, value, version: randomUUID(), ...expiry }));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
      const directory = await open(this.#directory, 'r');
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    if (this.#sweeps.isDue()) await this.sweep();
  }

  /** Writers wait for one another, so that a comparison and its write are one step. */
  async #inTurn<T>(o: CallOptions, step: () => Promise<T>): Promise<T> {
    o.signal.throwIfAborted();
    const turn = this.#last.then(() => {
      o.signal.throwIfAborted();
      return this.#guard('write', o, step);
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #guard<T>(what: string, { signal }: CallOptions, step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      signal.throwIfAborted();
      throw new RegistryError('UNAVAILABLE', {
        reason: `cannot ${what} the state in ${this.#directory}`,
        cause: error,
      });
    }
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

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'state-store',
  type: 'file',
  config: z.strictObject({
    path: ownDirectory().describe('Directory for the state, one process only; created with mode 0700'),
  }),
  async open({ path }, { baseDirectory, clock, log }) {
    const directory = resolve(baseDirectory, path.text);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(directory)) {
      // What a crash in mid-write left behind.
      if (name.endsWith('.tmp')) await rm(join(directory, name), { force: true });
    }
    const store = new FileStateStore(directory, clock, log);
    await store.sweep();
    return store;
  },
});
