import type { Metrics } from '../contracts/index.js';

/** Which of our listeners; a label's value. */
export type ListenerName = 'front' | 'redirect' | 'admin';

/**
 * Why a connection was closed by us before its client was done:
 *
 * - `connections`, `address`: there are too many of them, in all or of one address; closed before TLS
 * - `tls`: no handshake, a client certificate that is refused, or one that ended meanwhile
 * - `headers-slow`, `headers-large`, `malformed`: no request that can be understood came
 * - `pipelining`: too many requests waited for their turn
 * - `idle`: no byte moved in the middle of a transfer
 */
export const refusalReasons = [
  'connections',
  'address',
  'tls',
  'headers-slow',
  'headers-large',
  'malformed',
  'pipelining',
  'idle',
] as const;
export type RefusalReason = (typeof refusalReasons)[number];

export interface ListenerMetrics {
  refused(reason: RefusalReason): void;
  /** Connections open now. */
  open(count: number): void;
}

/** The metrics of one listener's connections. Without `metrics` nothing is counted. */
export function listenerMetrics(metrics: Metrics | undefined, listener: ListenerName): ListenerMetrics {
  if (metrics === undefined) return { refused: () => undefined, open: () => undefined };
  const refusals = metrics.counter(
    'connection_refusals_total',
    'Client connections closed because a bound was passed or the client could not be understood',
    ['listener', 'reason'],
  );
  const connections = metrics.gauge('connections', 'Open client connections', ['listener']);
  connections.set({ listener }, 0);
  // A counter that begins at its first event hides that one from whoever looks at increases.
  for (const reason of refusalReasons) refusals.add({ listener, reason }, 0);
  return {
    refused: (reason) => refusals.add({ listener, reason }),
    open: (count) => connections.set({ listener }, count),
  };
}
