import { openDispatcher } from '../dispatcher.js';
import { HttpCaller } from '../http-caller.js';

/** Milliseconds: it is on the machine itself or beside it; elsewhere nobody should wait to learn that it is not there. */
const connectTime = 2_000;
const connections = 64;

/**
 * For servers of the machine itself: never through a proxy, which would be asked for its own identity.
 *
 * @param o.timeout milliseconds for the whole of an answer
 * @param o.connect milliseconds for a connection
 */
export function openDirectCaller({
  timeout,
  connect = connectTime,
}: {
  readonly timeout: number;
  readonly connect?: number;
}): HttpCaller {
  const timeouts = { connect: Math.min(connect, timeout), headers: timeout, idle: timeout };
  return new HttpCaller(openDispatcher({ timeouts, connections }), timeout);
}
