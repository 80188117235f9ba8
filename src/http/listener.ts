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

/** A listening HTTP server that can be drained. */
export class Listener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** The answers that have not left yet. */
  readonly #open = new Set<ServerResponse>();
  #draining = false;
  #whenIdle: (() => void) | undefined;

  private constructor({ tls, handle }: ListenerOptions) {
    const count = (request: IncomingMessage, response: ServerResponse) => {
      this.#count(request, response);
      // RFC 9112 section 3.2
      if (request.httpVersion === '1.1' && request.headers.host === undefined) refuse(response, 400);
      else return handle(request, response);
    };
    this.#server = tls
      ? createTlsServer(
          { ...serverOptions, cert: tls.certificate, key: tls.key, minVersion: 'TLSv1.2' },
          count,
        )
      : createServer(serverOptions, count);
    this.#server.maxHeadersCount = maxHeaders;
    this.#server.setTimeout(idleTimeout);
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      if (this.#isAnswering(socket) || !socket.writable || error.code === 'ECONNRESET') socket.destroy();
      else refuseUnparsed(error, socket);
    });
    this.#server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      this.#count(request, response);
      refuse(response, 417);
    });
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** @throws an Error with a one-line message where the address cannot be had */
  static async open(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    await new Promise<void>((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException) =>
        reject(
          new Error(`cannot listen on ${options.host}:${options.port} (${error.code ?? error.message})`),
        );
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

  #count({ socket }: IncomingMessage, response: ServerResponse): void {
    this.#open.add(response);
    if (this.#draining) response.shouldKeepAlive = false;
    response.once('close', () => {
      this.#open.delete(response);
      if (this.#draining) socket.end();
      if (this.#open.size === 0) this.#whenIdle?.();
    });
  }

  /**
   * True where bytes put into the connection would be taken for a part of the answer to an earlier request, or for
   * that answer. The request whose own body is broken can still be told so.
   */
  #isAnswering(socket: Socket): boolean {
    const [first, ...more] = [...this.#open].filter((response) => response.req.socket === socket);
    return first !== undefined && (more.length > 0 || first.headersSent || first.req.complete);
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
    for (const socket of this.#sockets) {
      // What was answered last may still be on its way out.
      if (cut > 0) socket.destroy();
      else socket.destroySoon();
    }
    await closed;
    return { cut };
  }
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
