import { mkdir, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, Metrics, StateEntry, StateStore } from '../contracts/index.js';
import { ownDirectory } from '../settings/file-path.js';
import { DirectoryLock } from './directory-lock.js';
import {
  type Owner,
  ownerOfState,
  refuseWorldWritable,
  thisUser,
  warnOfSharedDirectory,
} from './directory-owner.js';
import { checkEntry } from './entry.js';
import { GuestFileStateStore } from './file-guest.js';
import { StateFiles } from './state-files.js';
import { SweepSchedule } from './sweep-schedule.js';

/**
 * State in files, for the one process that holds their directory: compareAndSet is atomic within it. Without the lock
 * nothing is written; reads go on.
 */
export class FileStateStore implements StateStore {
  readonly #files: StateFiles;
  readonly #lock: DirectoryLock;
  readonly #failures: ReturnType<Metrics['counter']>;
  readonly #sweeps = new SweepSchedule();
  #last: Promise<unknown> = Promise.resolve();

  constructor(files: StateFiles, lock: DirectoryLock, metrics: Metrics) {
    this.#files = files;
    this.#lock = lock;
    this.#failures = metrics.counter('state_failures_total', 'State that could not be read or written', [
      'what',
    ]);
    for (const what of ['read', 'write']) this.#failures.add({ what }, 0);
  }

  async get(key: string, o: CallOptions): Promise<StateEntry | undefined> {
    return this.#guard('read', o, () => this.#files.read(key));
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
      if ((await this.#files.read(key))?.version !== version) return false;
      await this.#write(key, value, o.ttl);
      return true;
    });
  }

  async delete(key: string, o: CallOptions): Promise<void> {
    await this.#inTurn(o, () => this.#files.remove(key));
  }

  async list(prefix: string, o: CallOptions): Promise<readonly StateEntry[]> {
    return this.#guard('read', o, () => this.#files.list(prefix, o));
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#lock.release();
  }

  #guard<T>(what: 'read' | 'write', o: CallOptions, step: () => Promise<T>): Promise<T> {
    return this.#files.guard(what, o, async () => {
      try {
        return await step();
      } catch (error) {
        if (!o.signal.aborted) this.#failures.add({ what });
        throw error;
      }
    });
  }

  /** Only while nothing is written. */
  async sweep(): Promise<void> {
    this.#sweeps.done(await this.#files.removeExpired());
  }

  async #write(key: string, value: string, ttl: number | undefined): Promise<void> {
    // Again, for writing may have taken long, and the whole process may have stood still in it.
    await this.#files.write(key, value, ttl, () => this.#lock.prove());
    if (this.#sweeps.isDue()) await this.sweep();
  }

  /** Writers wait for one another, so that a comparison and its write are one step. */
  async #inTurn<T>(o: CallOptions, step: () => Promise<T>): Promise<T> {
    o.signal.throwIfAborted();
    const turn = this.#last.then(() =>
      this.#guard('write', o, async () => {
        await this.#lock.prove();
        return step();
      }),
    );
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'state-store',
  type: 'file',
  config: z.strictObject({
    path: ownDirectory().describe('Directory for the state, one process only; created with mode 0700'),
  }),
  async open({ path }, { access, baseDirectory, clock, log, metrics }) {
    const directory = resolve(baseDirectory, path.text);
    if (access === 'guest') {
      // Where it is not there, or not to be seen, each call says so.
      const found = await stat(directory).catch(() => undefined);
      if (found !== undefined) refuseWorldWritable(directory, found);
      const owner = once(() => ownerOfState(directory));
      return new GuestFileStateStore(new StateFiles(directory, owner, clock, log));
    }
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const found = await stat(directory);
    refuseWorldWritable(directory, found);
    warnOfSharedDirectory(directory, found, log);
    const me = thisUser();
    const files = new StateFiles(directory, async () => me, clock, log);
    const owned = metrics.gauge(
      'state_owned',
      '1 where the state directory is this process’s, 0 where its lock is lost',
      [],
      'min',
    );
    const onProof = (isOurs: boolean) => owned.set({}, isOurs ? 1 : 0);
    const lock = await DirectoryLock.take(directory, { clock, log, onProof });
    try {
      await files.removeLeftovers();
      const store = new FileStateStore(files, lock, metrics);
      await store.sweep();
      return store;
    } catch (error) {
      await lock.release();
      throw error;
    }
  },
});

/** A guest is a command of seconds, and to look at all files for each of them would take long. */
function once(find: () => Promise<Owner>): () => Promise<Owner> {
  let known: Promise<Owner> | undefined;
  return () => {
    known ??= find().catch((error: unknown) => {
      known = undefined;
      throw error;
    });
    return known;
  };
}
