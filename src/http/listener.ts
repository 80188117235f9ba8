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
} as const;
const maxHeaders = 100;
/** Milliseconds without a byte in either direction. */
const idleTimeout = 300_000;

/** A listening HTTP server that can be drained. */
export class Listener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #active = 0;
  #draining = false;
  #whenIdle: (() => void) | undefined;

  private constructor({ tls, handle }: ListenerOptions) {
    const count = (request: IncomingMessage, response: ServerResponse) => {
      this.#active++;
      if (this.#draining) response.shouldKeepAlive = false;
      response.once('close', () => {
        this.#active--;
        if (this.#draining) request.socket.end();
        if (this.#active === 0) this.#whenIdle?.();
      });
      return handle(request, response);
    };
    this.#server = tls
      ? createTlsServer(
          { ...serverOptions, cert: tls.certificate, key: tls.key, minVersion: 'TLSv1.2' },
          count,
        )
      : createServer(serverOptions, count);
    this.#server.maxHeadersCount = maxHeaders;
    this.#server.setTimeout(idleTimeout);
    this.#server.on('clientError', refuse);
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

  /** Takes no new connection, lets requests in progress finish, and cuts what is left after `timeout` ms. */
  async drain(timeout: number): Promise<{ cut: number }> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    let cut = 0;
    if (this.#active > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeout);
        this.#whenIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      cut = this.#active;
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
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
  const refusal = new RegistryError('UNSUPPORTED', { status, message: 'the request cannot be understood' });
  const { headers, body } = errorResponse(refusal, undefined);
  const lines = [...headers].map(([name, value]) => `${name}: ${value}`);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    ...lines,
    'connection: close',
    '',
    '',
  ].join('\r\n');
  socket.end(Buffer.concat([Buffer.from(head), body]), () => socket.destroy());
}
