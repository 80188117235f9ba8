import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { largeWindows } from './fake-cri-runtime.js';

/** What a call came to, as it stood on the wire: names and values in turn. */
export interface RawAnswer {
  readonly headers: readonly string[];
  readonly body: Buffer;
  readonly trailers: readonly string[];
  /** The headers ended the stream. */
  readonly isHeadersAlone: boolean;
  readonly rstCode: number;
}

/** HTTP/2 at a unix socket; it knows no deadline, no status and no messages. */
export class RawGrpcClient {
  readonly session: ClientHttp2Session;
  readonly #socket: Socket;

  constructor(path: string) {
    const socket = connectSocket(path);
    this.#socket = socket;
    this.session = connect('http://localhost', { ...largeWindows, createConnection: () => socket });
    this.session.on('error', () => {});
    this.session.once('connect', () => this.session.setLocalWindowSize(16 * 1024 * 1024));
  }

  /** The request is neither written nor ended. */
  begin(path: string, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
    const stream = this.session.request(
      { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
      { endStream: false },
    );
    stream.on('error', () => {});
    return stream;
  }

  /** @param body with the prefixes of its messages */
  async call(path: string, body: Uint8Array, headers: OutgoingHttpHeaders = {}): Promise<RawAnswer> {
    const stream = this.begin(path, headers);
    const answer = rawAnswer(stream);
    stream.end(body);
    return answer;
  }

  /** Ends the connection, without a word. */
  cut(): void {
    this.#socket.destroy();
  }

  async close(): Promise<void> {
    if (this.session.destroyed) return;
    const closed = new Promise((resolve) => this.session.once('close', resolve));
    this.session.destroy();
    await closed;
  }
}

/** Milliseconds until a test fails that would wait for ever. */
const longestCall = 30_000;

/** Reads a stream to its close, however it ends. @throws an Error where it does not end within half a minute */
export function rawAnswer(stream: ClientHttp2Stream): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error('a call did not end within half a minute'));
      stream.destroy();
    }, longestCall);
    let headers: readonly string[] = [];
    let trailers: readonly string[] = [];
    let isHeadersAlone = false;
    const chunks: Buffer[] = [];
    stream.on('response', ((_: IncomingHttpHeaders, flags: number, raw: readonly string[]) => {
      headers = raw;
      isHeadersAlone = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    }) as () => void);
    stream.on('trailers', ((_: IncomingHttpHeaders, _flags: number, raw: readonly string[]) => {
      trailers = raw;
    }) as () => void);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('close', () => {
      clearTimeout(timer);
      const body = Buffer.concat(chunks);
      resolve({ headers, body, trailers, isHeadersAlone, rstCode: stream.rstCode ?? 0 });
    });
  });
}
