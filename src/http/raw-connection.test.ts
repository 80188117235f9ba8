import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { Listener, type ListenerOptions } from './listener.js';

// For the tests of listeners: what clients do byte by byte.

export const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

export async function open(
  t: TestContext,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  options: Partial<ListenerOptions> = {},
): Promise<Listener> {
  const listener = await Listener.open({ host: '127.0.0.1', port: 0, handle, ...options });
  t.after(() => listener.drain(0).catch(() => undefined));
  return listener;
}

/** One connection, and what came over it. */
export class RawConnection {
  readonly socket: Socket;
  text = '';
  readonly closed: Promise<void>;
  /** Also where it failed: it is known then that there is no connection. */
  readonly connected: Promise<void>;

  /** @param tls absent: plain */
  constructor({ address }: Pick<Listener, 'address'>, first: string, tls?: ConnectionOptions) {
    const where = { port: address.port, host: '127.0.0.1' };
    this.socket = tls ? connectTls({ ...where, rejectUnauthorized: false, ...tls }) : connect(where);
    this.socket.on('data', (piece: Buffer) => {
      this.text += piece.toString('latin1');
    });
    this.socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()));
    const connected = once(this.socket, tls ? 'secureConnect' : 'connect').then(
      () => undefined,
      () => undefined,
    );
    this.connected = Promise.race([connected, this.closed]);
    if (first !== '') this.socket.write(first);
  }

  /** Rejects where the connection closes before. */
  async received(text: string): Promise<void> {
    while (!this.text.includes(text)) {
      if (this.socket.destroyed) throw new Error(`closed after ${JSON.stringify(this.text)}`);
      await Promise.race([new Promise((resolve) => this.socket.once('data', resolve)), this.closed]);
    }
  }

  /** Asks for `/`, and waits for an answer that ends with `done`. @returns false where the connection was closed */
  async ask(): Promise<boolean> {
    this.text = '';
    this.socket.write(get);
    return this.received('done').then(
      () => true,
      () => false,
    );
  }
}
