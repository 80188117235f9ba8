import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { RegistryError } from '../errors.js';
import { errorResponse } from './error-response.js';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** PEM. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  readonly handle: (request: IncomingMessage, response: ServerResponse) => unknown;
}

/** Node's defaults cut long uploads (`requestTimeout`) and race load balancers (`keepAliveTimeout`). Milliseconds. */
const serverOptions = {
  requestTimeout: 0,
  headersTimeout: 20_000,
  keepAliveTimeout: 75_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 32_768,
  requireHostHeader: false, // Node would answer without a body; it is required below
} as const;
const maxHeaders = 100;
/** Milliseconds without a byte in either direction. */
const idleTimeout = 300_000;

/** Requests that may wait on one connection while another one is answered. */
const maxPipelined = 16;

/**
 * The requests of one connection are served one after the other. Node would hand over pipelined ones at once, and tell
 * only the answer that has the connection when that ends: what the others hold would never be released.
 */
interface Connection {
  current: ServerResponse | undefined;
  readonly waiting: (() => void)[];
}

/** A listening HTTP server that can be drained. */
export class Listener {
  readonly #server: Server;
  readonly #connections = new Map<Socket, Connection>();
  /** The answers that have not left yet. */
  readonly #open = new Set<ServerResponse>();
  #draining = false;
  #whenIdle: (() => void) | undefined;

  private constructor({ tls, handle }: ListenerOptions) {
    const serve = (request: IncomingMessage, response: ServerResponse) =>
      this.#inTurn(request, response, () => {
        // RFC 9112 section 3.2
        if (request.httpVersion === '1.1' && request.headers.host === undefined) refuse(response, 400);
        else handle(request, response);
      });
    this.#server = tls
      ? createTlsServer(
          { ...serverOptions, cert: tls.certificate, key: tls.key, minVersion: 'TLSv1.2' },
          serve,
        )
      : createServer(serverOptions, serve);
    this.#server.maxHeadersCount = maxHeaders;
    this.#server.setTimeout(idleTimeout);
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      if (this.#isAnswering(socket) || !socket.writable || error.code === 'ECONNRESET') socket.destroy();
      else refuseUnparsed(error, socket);
    });
    this.#server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      this.#inTurn(request, response, () => refuse(response, 417));
    });
    this.#server.on('connection', (socket: Socket) => {
      this.#connections.set(socket, { current: undefined, waiting: [] });
      socket.once('close', () => this.#connections.delete(socket));
    });
  }

  /** @throws an Error with a one-line message where the address cannot be had */
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

  /** Takes other certificates; connections that are open keep theirs. */
  replaceCertificate(tls: { readonly certificate: string; readonly key: string }): void {
    if ('setSecureContext' in this.#server && typeof this.#server.setSecureContext === 'function') {
      this.#server.setSecureContext({ cert: tls.certificate, key: tls.key, minVersion: 'TLSv1.2' });
    }
  }

  #inTurn({ socket }: IncomingMessage, response: ServerResponse, serve: () => void): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined) {
      response.destroy(); // the client went away meanwhile
      return;
    }
    const start = () => {
      connection.current = response;
      this.#count(socket, connection, response);
      serve();
    };
    if (connection.current === undefined) start();
    else if (connection.waiting.length < maxPipelined) connection.waiting.push(start);
    else socket.destroy();
  }

  #count(socket: Socket, connection: Connection, response: ServerResponse): void {
    this.#open.add(response);
    if (this.#draining) response.shouldKeepAlive = false;
    response.once('close', () => {
      this.#open.delete(response);
      connection.current = undefined;
      if (this.#draining) socket.end();
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
    let cut = 0;
    if (this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeout);
        this.#whenIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      cut = this.#open.size;
    }
    for (const socket of this.#connections.keys()) {
      // What was answered last may still be on its way out.
      if (cut > 0) socket.destroy();
      else socket.destroySoon();
    }
    await closed;
    return { cut };
  }
}

function because({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'EADDRINUSE') return ': another program uses this port (EADDRINUSE)';
  return `: ${message}`;
}

/** What Node's parser refuses still gets an answer a registry client can read. */
function refuseUnparsed(error: NodeJS.ErrnoException, socket: Socket): void {
  const status =
    error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
  const { headers, body } = refusal(status);
  const lines = [...headers].map(([name, value]) => `${name}: ${value}`);
  const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...lines, '', ''].join('\r\n');
  socket.end(Buffer.concat([Buffer.from(head), body]), () => socket.destroy());
}

function refuse(response: ServerResponse, status: number): void {
  const { headers, body } = refusal(status);
  response.writeHead(status, Object.fromEntries(headers)).end(body);
}

function refusal(status: number): { headers: ReadonlyMap<string, string>; body: Buffer } {
  const error = new RegistryError('UNSUPPORTED', { status, message: 'the request cannot be understood' });
  const { headers, body } = errorResponse(error, undefined);
  return { headers: new Map([...headers, ['connection', 'close']]), body };
}
