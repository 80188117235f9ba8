import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, Clock, StateEntry, StateStore } from '../contracts/index.js';
import { hasCode, RegistryError } from '../errors.js';
import { ownDirectory } from '../settings/file-path.js';
import { checkEntry } from './entry.js';

const entrySchema = z.object({
  key: z.string(),
  value: z.string(),
  version: z.string(),
  expiresAt: z.number().optional(),
});

/**
 * Keeps each entry in a file of its own, replaced by rename after fsync, so a crash leaves the old entry or the new
 * one. For one process: compareAndSet is atomic within it.
 */
export class FileStateStore implements StateStore {
  readonly #directory: string;
  readonly #clock: Clock;
  #last: Promise<unknown> = Promise.resolve();

  constructor(directory: string, clock: Clock) {
    this.#directory = directory;
    this.#clock = clock;
  }

  get(key: string, o: CallOptions): Promise<StateEntry | undefined> {
    o.signal.throwIfAborted();
    return this.#guard('read', () => this.#read(this.#path(key)));
  }

  async put(key: string, value: string, o: CallOptions & { readonly ttl?: number }): Promise<void> {
    o.signal.throwIfAborted();
    checkEntry(key, value);
    await this.#inTurn(() => this.#write(key, value, o.ttl));
  }

  async compareAndSet(
    key: string,
    version: string | undefined,
    value: string,
    o: CallOptions & { readonly ttl?: number },
  ): Promise<boolean> {
    o.signal.throwIfAborted();
    checkEntry(key, value);
    return this.#inTurn(async () => {
      if ((await this.#read(this.#path(key)))?.version !== version) return false;
      await this.#write(key, value, o.ttl);
      return true;
    });
  }

  async delete(key: string, o: CallOptions): Promise<void> {
    o.signal.throwIfAborted();
    await this.#inTurn(() => rm(this.#path(key), { force: true }));
  }

  async list(prefix: string, o: CallOptions): Promise<readonly StateEntry[]> {
    o.signal.throwIfAborted();
    return this.#guard('read', async () => {
      const entries: StateEntry[] = [];
      for (const name of await readdir(this.#directory)) {
        if (!name.endsWith('.json')) continue;
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

  #path(key: string): string {
    return join(this.#directory, `${createHash('sha256').update(key).digest('hex')}.json`);
  }

  async #read(path: string): Promise<StateEntry | undefined> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
    const { expiresAt, ...entry } = entrySchema.parse(JSON.parse(text));
    if (expiresAt === undefined) return entry;
    if (expiresAt > this.#clock.now()) return { ...entry, expiresAt };
    await rm(path, { force: true });
    return undefined;
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
  }

  /** Writers wait for one another, so that a comparison and its write are one step. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#guard('write', step));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #guard<T>(what: string, step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      throw new RegistryError('UNAVAILABLE', {
        reason: `cannot ${what} the state in ${this.#directory}`,
        cause: error,
      });
    }
  }
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'state-store',
  type: 'file',
  config: z.strictObject({
    path: ownDirectory().describe('Directory for the state, one process only; created with mode 0700'),
  }),
  async open({ path }, { baseDirectory, clock }) {
    const directory = resolve(baseDirectory, path.text);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(directory)) {
      // What a crash in mid-write left behind.
      if (name.endsWith('.tmp')) await rm(join(directory, name), { force: true });
    }
    return new FileStateStore(directory, clock);
  },
});
