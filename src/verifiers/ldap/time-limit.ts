import { untilAborted } from '../../decorators/single-flight.js';

/**
 * Gives work so many milliseconds. Its signal is aborted when they are over, and with `signal`; nobody waits for it
 * longer than that.
 *
 * @throws `late()` where the time is over; the reason of `signal` where that was aborted
 */
export async function within<V>(
  milliseconds: number,
  signal: AbortSignal,
  late: () => Error,
  work: (signal: AbortSignal) => Promise<V>,
): Promise<V> {
  signal.throwIfAborted();
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(late()), milliseconds);
  const onAbort = () => limit.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await untilAborted(work(limit.signal), limit.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
