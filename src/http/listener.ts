import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { LimitSettings } from '../config/configuration.js';
import type { Clock, Log, Metrics } from '../contracts/index.js';
import { CutByUs } from './client-gone.js';
import { ConnectionCount } from './connection-count.js';
import { makeInert } from './inert-headers.js';
import { type ListenerMetrics, type ListenerName, listenerMetrics } from './listener-metrics.js';
import { refuseRequest, refuseUnparsed, unparsed } from './refuse-request.js';
import { certificateEnd, type TlsContext, TlsGate } from './tls-gate.js';

/** Counts; `headerTime` and `idle` in milliseconds. */
export type ListenerLimits = Pick<
  LimitSettings,
  'connections' | 'connectionsPerAddress' | 'headerTime' | 'idle'
>;

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsContext;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => unknown;
  /** Default: enough for a listener that is not for clients. */
  readonly limits?: ListenerLimits;
  /** Addresses that many clients come from: `connectionsPerAddress` does not count for them. */
  readonly isTrusted?: (address: string) => boolean;
  readonly metrics?: Metrics;
  /** How metrics call it. Default: front. */
  readonly name?: ListenerName;
  /** Told of client certificates that are refused. */
  readonly log?: Log;
  readonly clock?: Clock;
}

const defaultLimits: ListenerLimits = {
  connections: 10_000,
  connectionsPerAddress: 1024,
  headerTime: 20_000,
  idle: 300_000,
};

/** Node's defaults cut long uploads (`requestTimeout`) and race load balancers (`keepAliveTimeout`). Milliseconds. */
const serverOptions = {
  requestTimeout: 0,
  keepAliveTimeout: 75_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 32_768,
  requireHostHeader: false, // Node would answer without a body; it is required below
} as const;
const maxHeaders = 100;

/** Requests that may wait on one connection while another one is answered. */
const maxPipelined = 16;

/**
 * The requests of one connection are served one after the other. Node would hand over pipelined ones at once, and tell
 * only the answer that has the connection when that ends: what the others hold would never be released.
 */
interface Connection {
  current: ServerResponse | undefined;
  readonly waiting: (() => void)[];
  /** Of the client's certificate; milliseconds since the Unix epoch. */
  readonly end: number;
  /** True where it is closed after the answer under way. */
  isLast: boolean;
}

/**
 * What Node's parser takes, and two servers in a row may understand differently: no host or several (RFC 9112 section
 * 3.2), and a transfer coding beside chunked, or with HTTP/1.0 (section 6.1).
 */
function isMalformed({ httpVersion, headers, rawHeaders }: IncomingMessage): boolean {
  const hosts = rawHeaders.filter(
    (name, i) => i % 2 === 0 && name.length === 4 && name.toLowerCase() === 'host',
  );
  if (hosts.length > 1 || (hosts.length === 0 && httpVersion === '1.1')) return true;
  const coding = headers['transfer-encoding'];
  return coding !== undefined && (httpVersion !== '1.1' || coding.toLowerCase() !== 'chunked');
}

/** A listening HTTP/1.1 server that bounds what its clients take, and that can be drained. */
export class Listener {
  readonly #server: Server;
  readonly #handle: ListenerOptions['handle'];
  readonly #clock: Clock;
  readonly #metrics: ListenerMetrics;
  readonly #gate: TlsGate | undefined;
  readonly #count = new ConnectionCount();
  #limits: ListenerLimits;
  #isTrusted: (address: string) => boolean;
  /** What was accepted and is open; with TLS these lie under `#connections`. */
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Map<Socket, Connection>();
  /** The answers that have not left yet. */
  readonly #open = new Set<ServerResponse>();
  #draining = false;
  #whenIdle: (() => void) | undefined;

  private constructor(options: ListenerOptions) {
    this.#handle = options.handle;
    this.#clock = options.clock ?? Date;
    this.#limits = options.limits ?? defaultLimits;
    this.#isTrusted = options.isTrusted ?? (() => false);
    this.#metrics = listenerMetrics(options.metrics, options.name ?? 'front');
    this.#server = createServer({ ...serverOptions, headersTimeout: this.#limits.headerTime });
    const speakHttp = this.#takeOver();
    this.#gate =
      options.tls &&
      new TlsGate(options.tls, {
        handshakeTime: this.#limits.headerTime,
        admit: speakHttp,
        refused: () => this.#metrics.refused('tls'),
        clock: this.#clock,
        ...(options.log && { log: options.log }),
      });
    this.#server.on('connection', (socket) => {
      if (this.#accept(socket)) this.#gate ? this.#gate.take(socket) : speakHttp(socket);
    });
    this.#serve();
  }

  /** @throws an Error with a one-line message where the address cannot be had, or TLS cannot use the certificate */
  static async open(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    await new Promise<void>((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException) =>
        reject(new Error(`cannot listen on ${options.host}:${options.port}${because(error)}`));
      listener.#server.once('error', fail);
      listener.#server.listen(options.port, options.host, () => {
        listener.#server.off('error', fail);
        resolve();
      });
    });
    return listener;
  }

  get address(): AddressInfo {
    return this.#server.address() as AddressInfo;
  }

  /**
   * Takes another certificate, and all else of `tls`, for new connections; those that are open keep theirs. Where the
   * trust in client certificates changed, they end after the request under way: else whoever is not trusted any more
   * would only have to keep a connection. Without TLS nothing happens.
   *
   * @throws where TLS cannot use it; the old one stays
   */
  replaceCertificate(tls: TlsContext): void {
    if (!this.#gate?.replace(tls).trustChanged) return;
    for (const connection of this.#connections.values()) {
      connection.isLast = true;
      if (connection.current) connection.current.shouldKeepAlive = false;
    }
    this.#server.closeIdleConnections();
  }

  /**
   * Takes other bounds. Counts hold for new connections, `headerTime` for all that is still to come, `idle` for new
   * connections and the next request of an old one. What is open stays open.
   */
  adjust({ limits, isTrusted }: Required<Pick<ListenerOptions, 'limits' | 'isTrusted'>>): void {
    this.#limits = limits;
    this.#isTrusted = isTrusted;
    this.#server.headersTimeout = limits.headerTime;
    this.#server.timeout = limits.idle;
    if (this.#gate) this.#gate.handshakeTime = limits.headerTime;
  }

  /** Puts us between accepted connections and Node's HTTP. @returns what makes HTTP be spoken over one */
  #takeOver(): (socket: Socket) => void {
    const listeners = this.#server.listeners('connection');
    this.#server.removeAllListeners('connection');
    return (socket) => {
      if (this.#draining) {
        socket.destroy();
        return;
      }
      const end = certificateEnd(socket);
      this.#connections.set(socket, { current: undefined, waiting: [], end, isLast: false });
      socket.once('close', () => this.#connections.delete(socket));
      for (const listen of listeners) listen.call(this.#server, socket);
    };
  }

  #accept(socket: Socket): boolean {
    const { remoteAddress } = socket;
    const taken =
      remoteAddress === undefined
        ? undefined // the client went away meanwhile
        : this.#count.take(remoteAddress, this.#limits, this.#isTrusted);
    if (typeof taken !== 'function') {
      if (taken !== undefined) this.#metrics.refused(taken);
      // Not an orderly end: thousands of those would each be remembered by the kernel for a minute.
      socket.resetAndDestroy();
      return false;
    }
    this.#sockets.add(socket);
    this.#metrics.open(this.#count.all);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      taken();
      this.#metrics.open(this.#count.all);
    });
    return true;
  }

  #serve(): void {
    const serve = (request: IncomingMessage, response: ServerResponse) =>
      this.#inTurn(request, response, () => {
        if (isMalformed(request)) this.#refuse(response, 400, 'malformed');
        else if (request.rawHeaders.length > 2 * maxHeaders) this.#refuse(response, 431, 'headers-large');
        else this.#handle(request, response);
      });
    const server = this.#server;
    server.on('request', serve);
    // Without a listener Node would ask for the body before anybody looked at the request.
    server.on('checkContinue', serve);
    server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      this.#inTurn(request, response, () => this.#refuse(response, 417, 'malformed'));
    });
    // Node drops what is over it without a word: one more is asked for, so that it is seen.
    server.maxHeadersCount = maxHeaders + 1;
    server.setTimeout(this.#limits.idle, (socket: Socket) => {
      const { current } = this.#connections.get(socket) ?? {};
      if (current === undefined) {
        socket.destroy(); // it was only kept alive
        return;
      }
      if (current.req.complete && !current.headersSent) {
        // It waits for us: an upstream may take long to store a layer, and has limits of its own.
        socket.setTimeout(this.#limits.idle);
        return;
      }
      this.#metrics.refused('idle');
      cut(socket, current, 'limits.idle');
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      const fault = unparsed(error);
      if (fault?.reason) this.#metrics.refused(fault.reason);
      if (fault === undefined || !socket.writable || this.#isAnswering(socket)) socket.destroy();
      else refuseUnparsed(fault.status, socket);
    });
  }

  #refuse(response: ServerResponse, status: number, reason: 'malformed' | 'headers-large'): void {
    this.#metrics.refused(reason);
    refuseRequest(response, status);
  }

  #inTurn({ socket }: IncomingMessage, response: ServerResponse, serve: () => void): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) {
      response.destroy(); // the client went away meanwhile
      return;
    }
    const start = () => {
      if (connection.end <= this.#clock.now()) {
        this.#metrics.refused('tls');
        socket.destroy();
        return;
      }
      connection.current = response;
      this.#follow(socket, connection, response);
      makeInert(response);
      serve();
    };
    if (connection.current === undefined) start();
    else if (connection.waiting.length < maxPipelined) connection.waiting.push(start);
    else {
      this.#metrics.refused('pipelining');
      socket.destroy();
    }
  }

  #follow(socket: Socket, connection: Connection, response: ServerResponse): void {
    this.#open.add(response);
    if (this.#draining || connection.isLast) response.shouldKeepAlive = false;
    response.once('close', () => {
      this.#open.delete(response);
      connection.current = undefined;
      if (this.#draining || connection.isLast) socket.end();
      else if (!socket.destroyed) connection.waiting.shift()?.();
      if (this.#open.size === 0) this.#whenIdle?.();
    });
  }

  /**
   * True where bytes put into the connection would be taken for a part of the answer to an earlier request, or for
   * that answer. The request whose own body is broken can still be told so.
   */
  #isAnswering(socket: Socket): boolean {
    const { current, waiting } = this.#connections.get(socket) ?? {};
    if (current === undefined) return false;
    return (waiting?.length ?? 0) > 0 || current.headersSent || current.req.complete;
  }

  /** Takes no new connection, lets requests in progress finish, and cuts what is left after `timeout` ms. */
  async drain(timeout: number): Promise<{ cut: number }> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    for (const response of this.#open) response.shouldKeepAlive = false;
    if (this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeout);
        this.#whenIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const left = this.#open.size;
    const ended = [...this.#connections].map(([socket, { current }]) => {
      const end = new Promise((resolve) => socket.once('close', resolve));
      // What was answered last may still be on its way out.
      if (current === undefined) socket.destroySoon();
      else cut(socket, current, 'drainTimeout');
      return end;
    });
    await Promise.all(ended);
    // Handshakes.
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    return { cut: left };
  }
}

function because({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'EADDRINUSE') return ': another program uses this port (EADDRINUSE)';
  return `: ${message}`;
}

/**
 * Ends a connection so that what was under way does not look whole, even where only the end would tell: HTTP/1.0
 * without a length. With TLS the missing close_notify tells.
 */
function cut(socket: Socket, current: ServerResponse, bound: ConstructorParameters<typeof CutByUs>[0]): void {
  if ('encrypted' in socket) socket.destroy();
  else socket.resetAndDestroy();
  current.destroy(new CutByUs(bound));
}
