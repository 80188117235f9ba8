import type { CallOptions } from '../contracts/index.js';

export interface FairTurnsOptions {
  readonly atOnce: number;
  /** Places for those who wait, of all groups together. */
  readonly waiting: number;
  /** What is told to whom there is no place for. */
  readonly refusal: () => Error;
}

interface Waiter {
  readonly enter: () => void;
  readonly refuse: (reason: unknown) => void;
}

/** Who is alike: one network, say. */
interface Group {
  running: number;
  readonly waiting: Waiter[];
}

/**
 * Lets so many run at the same time, and shares turns and places among groups: a free turn is for whom fewest run of,
 * and among those for who has been without one longest. Where every place is taken, the group with most of them gives
 * up its last one. So one that sends a thousand makes others wait for one turn, not for a thousand.
 */
export class FairTurns {
  readonly #options: FairTurnsOptions;
  /** Those of whom somebody runs or waits; the one whose turn began or ended last is last. */
  readonly #groups = new Map<string, Group>();
  #free: number;
  #waiting = 0;

  constructor(options: FairTurnsOptions) {
    this.#options = options;
    this.#free = options.atOnce;
  }

  /**
   * @param name the group's
   * @throws the signal's reason where it is aborted before the turn has come; the refusal where there is no place, or
   *   it had to be given up
   */
  async run<V>(name: string, { signal }: CallOptions, work: () => Promise<V>): Promise<V> {
    signal.throwIfAborted();
    // Nobody waits where a turn is free.
    if (this.#free > 0) this.#begin(name);
    else await this.#wait(name, signal);
    try {
      return await work();
    } finally {
      this.#end(name);
    }
  }

  #begin(name: string): void {
    this.#free--;
    this.#group(name).running++;
    this.#toTheEnd(name);
  }

  #end(name: string): void {
    this.#group(name).running--;
    this.#free++;
    this.#toTheEnd(name);
    this.#forgetIdle(name);
    const [next, waiter] = this.#next() ?? [];
    if (next === undefined || waiter === undefined) return;
    this.#waiting--;
    this.#begin(next);
    waiter.enter();
  }

  #next(): readonly [string, Waiter | undefined] | undefined {
    let found: readonly [string, Group] | undefined;
    for (const [name, group] of this.#groups) {
      if (group.waiting.length === 0) continue;
      if (found === undefined || group.running < found[1].running) found = [name, group];
    }
    return found && [found[0], found[1].waiting.shift()];
  }

  async #wait(name: string, signal: AbortSignal): Promise<void> {
    this.#makePlace(name);
    const { waiting } = this.#group(name);
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        waiting.splice(waiting.indexOf(waiter), 1);
        this.#waiting--;
        this.#forgetIdle(name);
        reject(signal.reason);
      };
      const left = () => signal.removeEventListener('abort', onAbort);
      const waiter: Waiter = {
        enter: () => {
          left();
          resolve();
        },
        refuse: (reason) => {
          left();
          reject(reason);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      waiting.push(waiter);
      this.#waiting++;
    });
  }

  /** @throws the refusal */
  #makePlace(name: string): void {
    if (this.#waiting < this.#options.waiting) return;
    const [longest, group] = this.#longest();
    const own = this.#groups.get(name)?.waiting.length ?? 0;
    // Who would then have as many as the other had is no better a guest.
    if (group === undefined || group.waiting.length <= own + 1) throw this.#options.refusal();
    this.#waiting--;
    group.waiting.pop()?.refuse(this.#options.refusal());
    this.#forgetIdle(longest);
  }

  #longest(): readonly [string, Group | undefined] {
    let found: readonly [string, Group | undefined] = ['', undefined];
    for (const one of this.#groups) {
      if (one[1].waiting.length > (found[1]?.waiting.length ?? 0)) found = one;
    }
    return found;
  }

  #group(name: string): Group {
    const group = this.#groups.get(name) ?? { running: 0, waiting: [] };
    this.#groups.set(name, group);
    return group;
  }

  #toTheEnd(name: string): void {
    const group = this.#group(name);
    this.#groups.delete(name);
    this.#groups.set(name, group);
  }

  #forgetIdle(name: string): void {
    const group = this.#groups.get(name);
    if (group?.running === 0 && group.waiting.length === 0) this.#groups.delete(name);
  }
}
