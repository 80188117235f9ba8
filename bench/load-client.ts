import { connect, type Socket } from 'node:net';

// A client that costs little: raw sockets, one request at a time on each, and only the head of an answer looked at.

export interface LoadTarget {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * So many requests over so many connections that are kept.
 *
 * @returns bytes of the bodies
 * @throws an Error where an answer is no 200, or a connection ends
 */
export async function request(target: LoadTarget, requests: number, connections: number): Promise<number> {
  let left = requests;
  let bytes = 0;
  const take = () => left-- > 0;
  const work = async () => {
    const connection = new Connection(target);
    try {
      while (take()) bytes += await connection.get();
    } finally {
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: Math.min(connections, requests) }, work));
  return bytes;
}

const headEnd = Buffer.from('\r\n\r\n');

class Connection {
  readonly #socket: Socket;
  readonly #request: Buffer;
  #waiting: { resolve(bytes: number): void; reject(error: Error): void } | undefined;
  #head: Buffer | undefined = Buffer.alloc(0);
  #length = 0;
  #received = 0;

  constructor({ port, path, headers }: LoadTarget) {
    const lines = Object.entries({ host: `127.0.0.1:${port}`, ...headers }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    this.#request = Buffer.from(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
    const end = (error?: Error) => this.#waiting?.reject(error ?? new Error(`${path}: the connection ended`));
    this.#socket.on('error', end).on('close', () => end());
  }

  get(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(this.#request);
    });
  }

  close(): void {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    let body = chunk.length;
    if (this.#head !== undefined) {
      const read = Buffer.concat([this.#head, chunk]);
      const at = read.indexOf(headEnd);
      if (at < 0) {
        this.#head = read;
        return;
      }
      const head = read.toString('latin1', 0, at);
      const length = /^content-length: *(\d+)/im.exec(head)?.[1];
      if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) {
        this.#waiting?.reject(new Error(`expected 200 with a length, got ${head.split('\r\n')[0]}`));
        this.#socket.destroy();
        return;
      }
      this.#head = undefined;
      this.#length = Number(length);
      body = read.length - at - headEnd.length;
    }
    this.#received += body;
    if (this.#received < this.#length) return;
    const { resolve } = this.#waiting ?? {};
    this.#received = 0;
    this.#head = Buffer.alloc(0);
    resolve?.(this.#length);
  }
}
