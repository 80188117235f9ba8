import type { Closable } from '../contracts/index.js';

/** A part in use. Release it once. */
export interface Lease<T> {
  readonly part: T;
  /** Closes the part where nobody else uses it. @throws what closing throws; the part counts as closed then */
  release(): Promise<void>;
}

interface Entry {
  readonly opening: Promise<Closable>;
  users: number;
}

/**
 * The parts that are open, by what they were made from: a reload that changes nothing about a part goes on with the
 * same one, with its connections, its tokens and what it remembers.
 */
export class PartPool {
  readonly #entries = new Map<string, Entry>();
  /** Parts that are closing: whatever takes their place may need the same directory. */
  readonly #closing = new Map<string, Promise<void>>();

  /**
   * @param key equal where the part would be the same
   * @param open opens it where it is not open yet
   * @throws what `open` throws; nobody has the part then, and the next one tries anew
   */
  async open<T extends Closable>(key: string, open: () => Promise<T>): Promise<Lease<T>> {
    const entry = this.#entries.get(key) ?? this.#enter(key, open);
    entry.users++;
    try {
      const part = (await entry.opening) as T;
      return { part, release: () => this.#release(key, entry, part) };
    } catch (error) {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }

  /** How many parts are open. */
  get size(): number {
    return this.#entries.size;
  }

  #enter(key: string, open: () => Promise<Closable>): Entry {
    const earlier = this.#closing.get(key) ?? Promise.resolve();
    const entry: Entry = { opening: earlier.then(open), users: 0 };
    this.#entries.set(key, entry);
    return entry;
  }

  async #release(key: string, entry: Entry, part: Closable): Promise<void> {
    entry.users--;
    if (entry.users > 0) return;
    this.#entries.delete(key);
    const closing = part.close();
    // Its successor waits for the end, and does not fail because this one did not close well.
    const over: Promise<void> = closing
      .catch(() => undefined)
      .then(() => {
        if (this.#closing.get(key) === over) this.#closing.delete(key);
      });
    this.#closing.set(key, over);
    await closing;
  }
}
