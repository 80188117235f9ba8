import { LRUCache } from 'lru-cache';
import type { Clock } from '../contracts/index.js';
import type { RegistryError } from '../errors.js';

interface Miss {
  readonly error: RegistryError;
  readonly until: number;
  readonly mark: string;
}

/** What an upstream does not have, for seconds: clients ask for it again and again. A push ends it at once. */
export class Misses {
  readonly #clock: Clock;
  readonly #life: number;
  readonly #misses = new LRUCache<string, Miss>({ max: 5_000 });

  /** @param life milliseconds */
  constructor(clock: Clock, life: number) {
    this.#clock = clock;
    this.#life = life;
  }

  /** @param mark of the repository now */
  find(key: string, mark: string): RegistryError | undefined {
    const miss = this.#misses.get(key);
    if (miss === undefined) return undefined;
    if (miss.mark === mark && this.#clock.now() < miss.until) return miss.error;
    this.#misses.delete(key);
    return undefined;
  }

  /** @param mark of the repository before its upstream was asked */
  add(key: string, error: RegistryError, mark: string): void {
    if (this.#life > 0) this.#misses.set(key, { error, until: this.#clock.now() + this.#life, mark });
  }
}
