import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

// For the tests of gRPC servers: a client that shows every part of an answer, and keeps no deadline by itself.

const directories: string[] = [];
// At the very end: a socket that is still open would make its directory anew.
after(() => Promise.all(directories.map((directory) => rm(directory, { recursive: true, force: true }))));

/** Short, for a socket's path has 107 bytes. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'grpc-'));
  directories.push(directory);
  return directory;
}

/** Bounded: 30 seconds, for a machine may be busy. */
export async function until(what: string, isSo: () => unknown): Promise<void> {
  const end = performance.now() + 30_000;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`not within 30 seconds: ${what}`);
    await sleep(10);
  }
}

export interface WholeAnswer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  /** How the stream ended: an HTTP/2 error code. */
  readonly reset: number;
}

const grpcHeaders = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };

export class TestClient {
  readonly session: ClientHttp2Session;
  /** Under the session, which hides it. */
  readonly socket: Socket;

  constructor(t: TestContext, path: string, more: ClientSessionOptions = {}) {
    this.socket = connectSocket(path);
    const createConnection = () => this.socket;
    // A client's own bounds must not be what a test sees.
    const bounds = { maxSessionMemory: 2_048, settings: { initialWindowSize: 1 << 20 } };
    this.session = connect('http://localhost', { ...bounds, ...more, createConnection });
    this.session.on('error', () => undefined);
    t.after(() => this.session.destroy());
  }

  /** Begins a call that is not ended. @param path a whole one, or a method of the image service */
  begin(path: string, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
    const whole = path.startsWith('/') ? path : `/runtime.v1.ImageService/${path}`;
    const stream = this.session.request({ ...grpcHeaders, ':path': whole, ...headers });
    stream.on('error', () => undefined);
    return stream;
  }

  call(
    path: string,
    body: Uint8Array = Buffer.alloc(5),
    headers: OutgoingHttpHeaders = {},
  ): Promise<WholeAnswer> {
    const stream = this.begin(path, headers);
    stream.end(body);
    return wholeAnswer(stream);
  }

  async close(): Promise<void> {
    if (this.session.destroyed) return;
    const closed = once(this.session, 'close');
    this.session.destroy();
    await closed;
  }
}

export async function wholeAnswer(stream: ClientHttp2Stream): Promise<WholeAnswer> {
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const pieces: Buffer[] = [];
  stream.on('response', (received) => {
    headers = received;
  });
  stream.on('trailers', (received) => {
    trailers = received;
  });
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  if (!stream.closed || !stream.destroyed) await new Promise((resolve) => stream.once('close', resolve));
  return { headers, trailers, bytes: Buffer.concat(pieces), reset: stream.rstCode ?? 0 };
}
