import { setMaxListeners } from 'node:events';
import type { CallOptions } from '../contracts/index.js';

interface Flight<V> {
  readonly result: Promise<V>;
  readonly abandoned: AbortController;
  waiters: number;
}

/**
 * Calls with the same key share the one that is under way. Each waiter can leave by its own signal; the shared work
 * goes on for the others, under a time limit of its own, and ends with the last of them. Nothing is remembered once it
 * has ended.
 */
export class SingleFlight<V> {
  readonly #underWay = new Map<string, Flight<V>>();
  readonly #timeLimit: number;
  readonly #closing = new AbortController();

  /** @param timeLimit milliseconds for the shared work */
  constructor(timeLimit: number) {
    this.#timeLimit = timeLimit;
    // One for each that is under way, and there is no telling how many.
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * @param start is told by its signal that the time is over, that this was closed, or that nobody waits any more
   * @throws what `start` throws; the waiter's own reason when its signal is aborted
   */
  async run(key: string, o: CallOptions, start: (signal: AbortSignal) => Promise<V>): Promise<V> {
    o.signal.throwIfAborted();
    const flight = this.#underWay.get(key) ?? this.#begin(key, start);
    flight.waiters++;
    try {
      return await untilAborted(flight.result, o.signal);
    } finally {
      flight.waiters--;
      if (flight.waiters === 0) {
        // At once, so that who comes now begins anew and does not join what ends.
        this.#forget(key, flight);
        flight.abandoned.abort(new Error('nobody waits for it any more'));
      }
    }
  }

  /** Ends the work in progress; what starts later fails at once. */
  close(): void {
    this.#closing.abort(new Error('closed'));
  }

  #begin(key: string, start: (signal: AbortSignal) => Promise<V>): Flight<V> {
    const abandoned = new AbortController();
    const result = this.#start(start, abandoned.signal).finally(() => this.#forget(key, flight));
    const flight: Flight<V> = { result, abandoned, waiters: 0 };
    result.catch(() => {}); // every waiter may have left
    this.#underWay.set(key, flight);
    return flight;
  }

  #forget(key: string, flight: Flight<V>): void {
    if (this.#underWay.get(key) === flight) this.#underWay.delete(key);
  }

  async #start(start: (signal: AbortSignal) => Promise<V>, abandoned: AbortSignal): Promise<V> {
    const limit = new AbortController();
    const onClose = () => limit.abort(this.#closing.signal.reason);
    const onAbandoned = () => limit.abort(abandoned.reason);
    const timer = setTimeout(
      () => limit.abort(new Error(`took longer than ${this.#timeLimit} ms`)),
      this.#timeLimit,
    );
    this.#closing.signal.addEventListener('abort', onClose, { once: true });
    abandoned.addEventListener('abort', onAbandoned, { once: true });
    if (this.#closing.signal.aborted) onClose();
    try {
      limit.signal.throwIfAborted();
      return await untilAborted(start(limit.signal), limit.signal);
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', onClose);
      abandoned.removeEventListener('abort', onAbandoned);
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
