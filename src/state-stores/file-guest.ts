import type { FileHandle } from 'node:fs/promises';
import type { CallOptions, StateEntry, StateStore } from '../contracts/index.js';
import { checkEntry } from './entry.js';
import type { StateFiles } from './state-files.js';

/**
 * The same files beside the process that holds them, or while none does: takes no lock and cleans nothing up. It reads
 * and writes whole entries; a comparison it cannot make, for its write would not be one step with it.
 */
export class GuestFileStateStore implements StateStore {
  readonly #files: StateFiles;

  constructor(files: StateFiles) {
    this.#files = files;
  }

  async get(key: string, o: CallOptions): Promise<StateEntry | undefined> {
    return this.#files.guard('read', o, () => this.#files.read(key));
  }

  async put(key: string, value: string, o: CallOptions & { readonly ttl?: number }): Promise<void> {
    checkEntry(key, value);
    await this.#files.guard('write', o, () =>
      this.#files.write(key, value, o.ttl, (file) => this.#handOver(file)),
    );
  }

  /** @throws an Error always: a bug of the caller */
  async compareAndSet(): Promise<boolean> {
    throw new Error('compareAndSet needs the process that holds the state');
  }

  async delete(key: string, o: CallOptions): Promise<void> {
    await this.#files.guard('write', o, () => this.#files.remove(key));
  }

  async list(prefix: string, o: CallOptions): Promise<readonly StateEntry[]> {
    return this.#files.guard('read', o, () => this.#files.list(prefix, o));
  }

  async close(): Promise<void> {}

  /** What root writes must be readable for the proxy. */
  async #handOver(file: FileHandle): Promise<void> {
    const [mine, owner] = [await file.stat(), await this.#files.owner()];
    if (mine.uid === owner.uid) return;
    await file.chown(owner.uid, owner.gid);
    await file.sync();
  }
}
