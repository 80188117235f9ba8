import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One call as it arrived. */
export interface CriCall {
  readonly path: string;
  /** Names and values in turn, pseudo-headers with them. */
  readonly rawHeaders: readonly string[];
  readonly stream: ServerHttp2Stream;
  /** What came of the request so far, prefixes with it. */
  readonly body: Buffer;
  /** The request's end has come. */
  readonly isWhole: boolean;
  readonly isClosed: boolean;
}

/** Answers a call. Called at its headers; `whole` is resolved at the request's end. */
export type CriAnswer = (call: CriCall, whole: Promise<void>) => unknown;

/** Large messages pass, as with grpc-go's 16 MiB. */
export const largeWindows = {
  maxSessionMemory: 1024,
  maxHeaderListPairs: 2048,
  settings: { initialWindowSize: 1024 * 1024, maxHeaderListSize: 1024 * 1024 },
};

/** A gRPC server at a unix socket that answers as its script says, and keeps what it was sent. */
export class FakeCriRuntime {
  readonly path: string;
  readonly calls: CriCall[] = [];
  answer: CriAnswer;
  readonly #directory: string;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  #server: Http2Server | undefined;

  /** It does not listen yet. */
  constructor(answer: CriAnswer) {
    this.#directory = mkdtempSync(join(tmpdir(), 'drp-cri-'));
    this.path = join(this.#directory, 'r.sock');
    this.answer = answer;
  }

  static async start(answer: CriAnswer): Promise<FakeCriRuntime> {
    const runtime = new FakeCriRuntime(answer);
    await runtime.listen();
    return runtime;
  }

  get openStreams(): number {
    return this.calls.filter(({ isClosed }) => !isClosed).length;
  }

  get sessions(): readonly ServerHttp2Session[] {
    return [...this.#sessions];
  }

  async listen(): Promise<void> {
    const server = createServer(largeWindows);
    this.#server = server;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.setLocalWindowSize(16 * 1024 * 1024);
      session.on('error', () => {});
      session.once('close', () => this.#sessions.delete(session));
    });
    server.on('sessionError', () => {});
    server.on('stream', (stream, _headers, _flags, raw?: readonly string[]) => this.#take(stream, raw ?? []));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.path, resolve);
    });
  }

  /** As a killed process: connections are cut, and the socket is gone. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    this.cut();
    await closed;
  }

  /** Ends all connections, without a word. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #take(stream: ServerHttp2Stream, rawHeaders: readonly string[]): void {
    const chunks: Buffer[] = [];
    let isWhole = false;
    let isClosed = false;
    const call: CriCall = {
      path: rawHeaders[rawHeaders.indexOf(':path') + 1] ?? '',
      rawHeaders,
      stream,
      get body() {
        return Buffer.concat(chunks);
      },
      get isWhole() {
        return isWhole;
      },
      get isClosed() {
        return isClosed;
      },
    };
    this.calls.push(call);
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('close', () => {
      isClosed = true;
    });
    const whole = new Promise<void>((resolve) => {
      stream.once('end', () => {
        isWhole = true;
        resolve();
      });
    });
    void this.answer(call, whole);
  }
}
