import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2';
import { z } from 'zod';
import type { CallOptions } from '../contracts/call-options.js';
import { defineDriver } from '../contracts/driver.js';
import type { Log } from '../contracts/log.js';
import type { Metrics } from '../contracts/metrics.js';
import { type CriRuntime, RuntimeError } from '../contracts/runtime.js';
import { describeError } from '../errors.js';
import { duration } from '../settings/duration.js';
import { printSocketAddress, unixAddress } from '../settings/socket-address.js';
import { LastingSession, NotConnected } from './cri/lasting-session.js';

export interface CriSocketOptions {
  readonly path: string;
  /** Milliseconds that a call waits for a connection. */
  readonly patience: number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Milliseconds; for tests. */
  readonly greetingTimeout?: number;
}

/** containerd, CRI-O, cri-dockerd, or another image service in front of one, at its socket. */
export class CriSocket implements CriRuntime {
  readonly kind = 'cri';
  readonly endpoint: string;
  readonly #session: LastingSession;
  readonly #patience: number;
  readonly #unfollow: () => void;

  constructor({ path, patience, metrics, ...rest }: CriSocketOptions) {
    this.endpoint = printSocketAddress({ path });
    this.#patience = patience;
    this.#session = new LastingSession({ path, endpoint: this.endpoint, ...rest });
    this.#unfollow = metrics
      .gauge('runtime_connected', '1 while there is a connection to the container runtime, 0 otherwise')
      .follow({}, () => (this.isConnected ? 1 : 0));
  }

  get isConnected(): boolean {
    return this.#session.isConnected;
  }

  async begin(headers: OutgoingHttpHeaders, { signal }: CallOptions): Promise<ClientHttp2Stream> {
    const until = performance.now() + this.#patience;
    for (;;) {
      const session = await this.#connected(signal, until - performance.now());
      const stream = await begun(session, headers);
      if (stream === undefined) {
        this.#session.retire(session);
        continue;
      }
      if (!signal.aborted) return stream;
      stream.destroy();
      throw signal.reason;
    }
  }

  async close(): Promise<void> {
    this.#unfollow();
    await this.#session.close();
  }

  async #connected(signal: AbortSignal, patience: number): Promise<ClientHttp2Session> {
    try {
      return await this.#session.get({ signal, patience });
    } catch (error) {
      if (!(error instanceof NotConnected)) throw error;
      throw new RuntimeError(
        'unavailable',
        `the container runtime at ${this.endpoint} cannot be reached: ${error.message}`,
      );
    }
  }
}

/** @returns undefined where the session takes no more calls. @throws RuntimeError `failed` where these headers cannot be sent */
async function begun(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
): Promise<ClientHttp2Stream | undefined> {
  // The authority is fixed: what grpc-go makes of a socket's path is none.
  const whole = { ':method': 'POST', ':scheme': 'http', ...headers, ':authority': 'localhost' };
  let stream: ClientHttp2Stream;
  try {
    stream = session.request(whole, { endStream: false });
  } catch (error) {
    if (isOfSession(error)) return undefined;
    throw new RuntimeError('failed', `a call cannot be sent: ${describeError(error)}`, { cause: error });
  }
  // Whoever asked listens a moment later, and an error that nobody hears ends the process.
  stream.on('error', () => {});
  if (stream.pending) await settled(stream);
  // One that was closed before it had a number was never sent.
  return stream.pending || stream.id === undefined ? undefined : stream;
}

function settled(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    stream.once('ready', resolve);
    stream.once('close', resolve);
  });
}

function isOfSession(error: unknown): boolean {
  const code = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? '') : '';
  return /^ERR_HTTP2_(?:\w+_SESSION|OUT_OF_STREAMS)$/.test(code);
}

export const driver = defineDriver({
  apiVersion: 1,
  kind: 'runtime',
  type: 'cri',
  config: z.strictObject({
    endpoint: unixAddress('unix:///run/containerd/containerd.sock').describe(
      "The runtime's socket. containerd: unix:///run/containerd/containerd.sock, CRI-O: unix:///run/crio/crio.sock, cri-dockerd: unix:///run/cri-dockerd.sock.",
    ),
    patience: duration({ min: '100ms', max: '5m' })
      .prefault('10s')
      .describe('How long a call waits while the runtime cannot be reached; then it fails with Unavailable.'),
  }),
  open: async ({ endpoint: { path }, patience }, { log, metrics }) =>
    new CriSocket({ path, patience, log, metrics }),
});
