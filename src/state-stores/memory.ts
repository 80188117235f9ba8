import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { defineDriver } from '../contracts/driver.js';
import type { CallOptions, Clock, StateEntry, StateStore } from '../contracts/index.js';
import { checkEntry } from './entry.js';
import { SweepSchedule } from './sweep-schedule.js';

/** Keeps state in this process's memory: it ends with the process. */
export class MemoryStateStore implements StateStore {
  readonly #entries = new Map<string, StateEntry>();
  readonly #clock: Clock;
  readonly #sweeps = new SweepSchedule();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Entries held, with expired ones that were not swept yet. */
  get size(): number {
    return this.#entries.size;
  }

  async get(key: string, o: CallOptions): Promise<StateEntry | undefined> {
    o.signal.throwIfAborted();
    return this.#read(key);
  }

  async put(key: string, value: string, o: CallOptions & { readonly ttl?: number }): Promise<void> {
    o.signal.throwIfAborted();
    this.#write(key, value, o.ttl);
  }

  async compareAndSet(
    key: string,
    version: string | undefined,
    value: string,
    o: CallOptions & { readonly ttl?: number },
  ): Promise<boolean> {
    o.signal.throwIfAborted();
    if (this.#read(key)?.version !== version) return false;
    this.#write(key, value, o.ttl);
    return true;
  }

  async delete(key: string, o: CallOptions): Promise<void> {
    o.signal.throwIfAborted();
    this.#entries.delete(key);
  }

  async list(prefix: string, o: CallOptions): Promise<readonly StateEntry[]> {
    o.signal.throwIfAborted();
    const keys = [...this.#entries.keys()].filter((key) => key.startsWith(prefix)).sort();
    return keys.flatMap((key) => this.#read(key) ?? []);
  }

  async close(): Promise<void> {
    this.#entries.clear();
  }

  #read(key: string): StateEntry | undefined {
    const entry = this.#entries.get(key);
    if (entry?.expiresAt === undefined || entry.expiresAt > this.#clock.now()) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  #write(key: string, value: string, ttl: number | undefined): void {
    checkEntry(key, value);
    const expiry = ttl === undefined ? {} : { expiresAt: this.#clock.now() + ttl };
    this.#entries.set(key, { key, value, version: randomUUID(), ...expiry });
    if (!this.#sweeps.isDue()) return;
    for (const known of this.#entries.keys()) this.#read(known);
    this.#sweeps.done(this.#entries.size);
  }
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'state-store',
  type: 'memory',
  config: z.strictObject({}),
  async open(_config, { access, clock }) {
    if (access === 'guest') {
      throw new Error(
        'the state is in the memory of each process (type: memory); one that is kept in files (type: file) can be reached beside it',
      );
    }
    return new MemoryStateStore(clock);
  },
});
