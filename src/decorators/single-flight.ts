import type { CallOptions } from '../contracts/index.js';

/**
 * Calls with the same key share the one that is under way. Each waiter can leave by its own signal; the shared work
 * goes on for the others, under a time limit of its own. Nothing is remembered once it has ended.
 */
export class SingleFlight<V> {
  readonly #underWay = new Map<string, Promise<V>>();
  readonly #timeLimit: number;
  readonly #closing = new AbortController();

  /** @param timeLimit milliseconds for the shared work */
  constructor(timeLimit: number) {
    this.#timeLimit = timeLimit;
  }

  /**
   * @param start is told by its signal that the time is over or that this was closed; never that a waiter left
   * @throws what `start` throws; the waiter's own reason when its signal is aborted
   */
  async run(key: string, o: CallOptions, start: (signal: AbortSignal) => Promise<V>): Promise<V> {
    o.signal.throwIfAborted();
    let shared = this.#underWay.get(key);
    if (shared === undefined) {
      shared = this.#start(start).finally(() => this.#underWay.delete(key));
      shared.catch(() => {}); // every waiter may have left
      this.#underWay.set(key, shared);
    }
    return untilAborted(shared, o.signal);
  }

  /** Ends the work in progress; what starts later fails at once. */
  close(): void {
    this.#closing.abort(new Error('closed'));
  }

  async #start(start: (signal: AbortSignal) => Promise<V>): Promise<V> {
    const limit = new AbortController();
    const onClose = () => limit.abort(this.#closing.signal.reason);
    const timer = setTimeout(
      () => limit.abort(new Error(`took longer than ${this.#timeLimit} ms`)),
      this.#timeLimit,
    );
    this.#closing.signal.addEventListener('abort', onClose, { once: true });
    if (this.#closing.signal.aborted) onClose();
    try {
      limit.signal.throwIfAborted();
      return await untilAborted(start(limit.signal), limit.signal);
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', onClose);
    }
  }
}

/** The promise's outcome, or the signal's reason where that comes first. */
export function untilAborted<V>(promise: Promise<V>, signal: AbortSignal): Promise<V> {
  return new Promise<V>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
