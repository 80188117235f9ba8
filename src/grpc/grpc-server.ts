import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log, Metrics } from '../contracts/index.js';
import { describeError } from '../errors.js';
import { grpcStatus } from '../protocol/grpc-status.js';
import type { CallFront } from './call-front.js';
import { RunningCalls } from './grpc-server-calls.js';
import { endWithStatus } from './status.js';
import { type SocketPlace, UnixSocket } from './unix-socket.js';

export interface GrpcServerOptions {
  readonly socket: SocketPlace;
  /** Who made it closes it. */
  readonly front: CallFront;
  readonly log: Log;
  readonly metrics: Metrics;
}

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

const serverOptions = {
  // Mebibytes that a connection may hold. With Node's 10 a message of 15 that waits to be read has all new calls reset.
  maxSessionMemory: 1024,
  settings: {
    maxConcurrentStreams: 1000,
    initialWindowSize: mebibyte,
    maxHeaderListSize: 64 * kibibyte,
  },
} as const;
/** Bytes of a connection on their way; Node takes them off at once, whether the call is read or not. */
const connectionWindow = 4 * mebibyte;

/** Milliseconds in which calls under way may end once no more are taken, and in which what was told may leave. */
const settleTime = 2_000;
const leaveTime = 500;

/**
 * Bytes of a connection on which nobody has tried to call: preface, settings, a window update and a few pings. A call that
 * nghttp2 refuses is not shown to Node.
 */
const maxIdleBytes = 160;

const servicePath = /^\/runtime\.v1\.ImageService\/([A-Za-z0-9_]+)$/;
/** gRPC over HTTP/2, "Requests": not `application/grpc-web`. */
const grpcContentType = /^application\/grpc(?:[+;]|$)/i;
const notHere =
  "only runtime.v1.ImageService is served here, for kubelet's image service endpoint; " +
  "everything else is to be asked at the container runtime's own socket";

/** What came over a connection. */
interface SeenSession {
  calls: number;
  hasFailed: boolean;
}

/** Serves `runtime.v1.ImageService`, and no other service, on a unix socket. */
export class GrpcServer {
  readonly #log: Log;
  readonly #http: Http2Server;
  readonly #calls: RunningCalls;
  readonly #sessions = new Map<ServerHttp2Session, SeenSession>();
  readonly #countSessions: () => void;
  #socket: UnixSocket | undefined;
  #front: CallFront;
  #accepted: Socket | undefined;
  #hasHinted = false;
  #closed: Promise<void> | undefined;
  /** Ends a drain that waits. */
  readonly #closing = new AbortController();

  private constructor({ front, log, metrics }: GrpcServerOptions) {
    this.#front = front;
    this.#log = log;
    this.#calls = new RunningCalls(metrics);
    const sessions = metrics.gauge('cri_sessions', 'Open connections of kubelet and others');
    this.#countSessions = () => sessions.set({}, this.#sessions.size);
    this.#countSessions();
    this.#http = createServer(serverOptions);
    this.#http.on('session', (session) => this.#meet(session));
    this.#http.on('sessionError', (error: Error) => {
      log.debug({ error: describeError(error) }, 'a connection of a client failed');
    });
    const onStream = (
      stream: ServerHttp2Stream,
      headers: IncomingHttpHeaders,
      _flags: number,
      rawHeaders: readonly string[] = [], // always there; the types do not know
    ) => this.#take(stream, headers, rawHeaders);
    this.#http.on('stream', onStream);
  }

  /** @throws an Error with a one-line message where the socket cannot be had */
  static async open(options: GrpcServerOptions): Promise<GrpcServer> {
    const server = new GrpcServer(options);
    try {
      await server.#listen(options);
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** The socket's, where it is known. */
  get path(): string | undefined {
    return this.#socket?.path;
  }

  /**
   * Later calls go to this front, running ones stay with theirs.
   *
   * @returns resolves when the last call of the front before has ended: it can be closed then
   */
  use(front: CallFront): Promise<void> {
    const before = this.#front;
    this.#front = front;
    return this.#calls.whenNone(before);
  }

  /**
   * Goes on accepting connections and serving calls until `whenIdle` resolves or `timeout` ms are over. Then it takes no
   * more, lets the calls under way end for a moment where there is time left, and cuts what is left.
   *
   * @returns how many calls were cut
   */
  async drain(timeout: number, whenIdle: Promise<unknown>): Promise<{ cut: number }> {
    const end = performance.now() + timeout;
    await within(timeout, whenIdle, this.#closing.signal);
    await this.#socket?.close();
    for (const session of this.#sessions.keys()) session.close(); // GOAWAY: what is under way goes on
    const left = Math.min(end - performance.now(), settleTime);
    if (left > 0) await within(left, this.#calls.whenNone());
    const cut = this.#calls.cut('kubelet-image-service is stopping; ask again');
    if (cut > 0) await within(leaveTime, this.#calls.whenNone());
    // The last answers may not be written yet: a session that was told to close does so when they are.
    await within(leaveTime, this.#whenNoSession());
    await this.close();
    return { cut };
  }

  async #whenNoSession(): Promise<void> {
    const sessions = [...this.#sessions.keys()];
    await Promise.all(sessions.map((session) => new Promise((resolve) => session.once('close', resolve))));
  }

  /** Ends everything at once. Never rejects; a second call does nothing. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    await this.#socket?.close();
    for (const session of this.#sessions.keys()) session.destroy();
    await within(leaveTime, this.#calls.whenNone());
  }

  async #listen({ socket: place, log }: GrpcServerOptions): Promise<void> {
    const onConnection = (socket: Socket) => this.#accept(socket);
    this.#socket = await UnixSocket.open({ ...place, log, onConnection });
  }

  #accept(socket: Socket): void {
    this.#accepted = socket;
    this.#http.emit('connection', socket); // makes the session at once
    this.#accepted = undefined;
  }

  #meet(session: ServerHttp2Session): void {
    const socket = this.#accepted; // the session itself hides it
    const seen: SeenSession = { calls: 0, hasFailed: false };
    this.#sessions.set(session, seen);
    this.#countSessions();
    session.once('error', () => {
      seen.hasFailed = true;
    });
    session.once('close', () => {
      this.#sessions.delete(session);
      this.#countSessions();
      const isIdle = (socket?.bytesRead ?? 0) <= maxIdleBytes;
      if (seen.calls === 0 && !seen.hasFailed && !isIdle) this.#hint();
    });
    session.setLocalWindowSize(connectionWindow);
  }

  #take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    stream.on('error', (error) => {
      this.#log.debug({ error: describeError(error) }, 'a call was broken off');
    });
    const session = stream.session && this.#sessions.get(stream.session as ServerHttp2Session);
    if (session) session.calls += 1;
    if (!grpcContentType.test(headers['content-type'] ?? '')) {
      stream.respond({ ':status': 415 }, { endStream: true });
      return;
    }
    const method = headers[':method'] === 'POST' ? servicePath.exec(headers[':path'] ?? '')?.[1] : undefined;
    if (method === undefined) {
      this.#calls.begin(stream, 'other');
      endWithStatus(stream, grpcStatus.UNIMPLEMENTED, notHere);
      return;
    }
    this.#calls.begin(stream, method, this.#front);
    try {
      this.#front.handle(stream, headers, rawHeaders);
    } catch (error) {
      this.#log.error({ error: describeError(error) }, 'a call failed in an unexpected way');
      endWithStatus(stream, grpcStatus.INTERNAL, 'internal error of kubelet-image-service');
    }
  }

  /** Once: a kubelet that is too old tries again and again. */
  #hint(): void {
    if (this.#hasHinted) return;
    this.#hasHinted = true;
    this.#log.warn(
      {},
      'a client has gone, and none of its calls could be read: kubelet must be 1.29 or newer, for older ones name the ' +
        'socket in a way that HTTP/2 does not allow',
    );
  }
}

/** Never rejects. @param timeout milliseconds. @param stop ends it before */
async function within(timeout: number, done: Promise<unknown>, stop?: AbortSignal): Promise<void> {
  const over = new AbortController();
  const signal = stop ? AbortSignal.any([over.signal, stop]) : over.signal;
  await Promise.race([done, sleep(timeout, undefined, { signal })]).catch(() => undefined);
  over.abort();
}
