import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

const shown = 1;
const hidden = 2;

/** Which names of one list are shown, as far as that is known; by their index in the list. */
export class Verdicts {
  readonly #known: Uint8Array;

  /** @param length the list's */
  constructor(length: number) {
    this.#known = new Uint8Array(length);
  }

  isShown(index: number): boolean {
    return this.#known[index] === shown;
  }

  isHidden(index: number): boolean {
    return this.#known[index] === hidden;
  }

  record(index: number, isShown: boolean): void {
    this.#known[index] = isShown ? shown : hidden;
  }
}

interface Remembered {
  readonly verdicts: Verdicts;
  /** Weak, so that a list which has been replaced is not kept for this. */
  readonly list: WeakRef<readonly string[]>;
}

/** One byte a name: what some hundred clients were told of the longest list. */
const mostBytes = 32 * 1024 * 1024;

/** Keeps verdicts about a list for as long as the list itself is kept, those asked for last at most. */
export class VerdictMemory {
  readonly #kept = new LRUCache<string, Remembered>({ max: 2000, maxSize: mostBytes });

  /** @param about whose verdicts, and on what terms they were given; as JSON has it */
  of(list: readonly string[], about: readonly unknown[]): Verdicts {
    const key = createHash('sha256').update(JSON.stringify(about)).digest('base64');
    const kept = this.#kept.get(key);
    if (kept?.list.deref() === list) return kept.verdicts;
    const verdicts = new Verdicts(list.length);
    this.#kept.set(key, { verdicts, list: new WeakRef(list) }, { size: list.length + 1 });
    return verdicts;
  }
}
