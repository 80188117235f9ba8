import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type SecureContext } from 'node:tls';
import { errors } from 'undici';
import { WholeBody } from '../../protocol/byte-budget.js';
import type { PulledBody } from '../../protocol/pulled-body.js';
import { type AnswerHead, parseAnswerHead } from './answer-head.js';
import { leastSpace } from './ring.js';
import { SocketBody } from './socket-body.js';

/** An answer that this connection does not read: whoever asked asks again by a client that knows all of HTTP. */
export class NotReadHere extends Error {
  override readonly name = 'NotReadHere';
  /** Of the answer, where it could be read. */
  readonly status: number | undefined;

  constructor(status: number | undefined) {
    super('the answer is not a plain one with a length');
    this.status = status;
  }
}

export interface ReaderAnswer extends Pick<AnswerHead, 'status' | 'headers'> {
  readonly body: PulledBody | WholeBody;
}

export interface ConnectionSettings {
  /** Milliseconds: for TCP and TLS, for an answer's head, between two pieces of a body. */
  readonly timeouts: { readonly connect: number; readonly headers: number; readonly idle: number };
  /** Trusted beyond the system's roots. */
  readonly secureContext?: SecureContext;
}

/** What its pool is told. */
export interface ConnectionEvents {
  /** It may be asked again. */
  idle(connection: Connection): void;
  closed(connection: Connection): void;
  session(session: Buffer): void;
}

interface Waiting {
  readonly text: string;
  resolve(answer: ReaderAnswer): void;
  reject(error: Error): void;
}

const headEnd = Buffer.from('\r\n\r\n');
const noBytes = new Uint8Array();

/**
 * A connection for GET requests, one at a time. It reads into buffers that it uses again, and reads only
 * answers whose body has one plain length. After anything else, after a byte too many, and after a body that was not
 * read to its end it is closed: what is left on it could be taken for the next answer (see docs/adr/0024).
 */
export class Connection {
  readonly #socket: Socket;
  readonly #timeouts: ConnectionSettings['timeouts'];
  readonly #events: ConnectionEvents;
  readonly #headBuffer = Buffer.allocUnsafeSlow(leastSpace);
  /** Where the next bytes go: known before they are read. */
  #target: Buffer = this.#headBuffer;
  /** Bytes of a head that has not come to its end. */
  #headFilled = 0;
  #body: SocketBody | undefined;
  #waiting: Waiting | undefined;
  #timer: NodeJS.Timeout | undefined;
  #keepAlive = 0;
  #idleUntil = 0;
  #isConnected = false;
  #isPaused = false;
  #failure: Error | undefined;

  /** @param session of an earlier connection to the same origin */
  constructor(
    origin: URL,
    { timeouts, secureContext }: ConnectionSettings,
    events: ConnectionEvents,
    session: Buffer | undefined,
  ) {
    this.#timeouts = timeouts;
    this.#events = events;
    const isTls = origin.protocol === 'https:';
    const host = origin.hostname.replace(/^\[|\]$/g, '');
    const onread = { buffer: () => this.#target, callback: (count: number) => this.#read(count) };
    const place = { host, port: Number(origin.port || (isTls ? 443 : 80)), onread };
    const options: ConnectionOptions = {
      ...place,
      servername: isIP(host) === 0 ? host : '',
      ALPNProtocols: ['http/1.1'],
      ...(secureContext && { secureContext }),
      ...(session && { session }),
    };
    this.#socket = isTls ? connectTls(options) : connectPlain(place);
    this.#socket.setNoDelay(true);
    this.#socket.setKeepAlive(true, 60_000);
    this.#timer = setTimeout(() => this.#end(new errors.ConnectTimeoutError()), timeouts.connect);
    this.#socket.once(isTls ? 'secureConnect' : 'connect', () => {
      clearTimeout(this.#timer);
      this.#isConnected = true;
      if (this.#waiting !== undefined) this.#send(this.#waiting.text);
    });
    this.#socket.on('session', events.session);
    this.#socket.on('error', (error) => this.#end(error));
    this.#socket.on('end', () => this.#end(new errors.SocketError('other side closed')));
    this.#socket.once('close', () => {
      this.#end(new errors.SocketError('other side closed'));
      events.closed(this);
    });
  }

  /** It is idle, and the other side is not about to close it. */
  get isFresh(): boolean {
    return this.#failure === undefined && this.#idleUntil > performance.now();
  }

  /**
   * Only when it is new or idle.
   *
   * @param text the request: Latin-1, with the empty line
   * @throws NotReadHere; what the connection fails with
   */
  ask(text: string): Promise<ReaderAnswer> {
    this.#idleUntil = 0;
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#waiting = { text, resolve, reject };
      if (this.#isConnected) this.#send(text);
    });
  }

  /** Cuts it, whatever it is doing. */
  close(reason: Error): void {
    this.#end(reason);
  }

  #send(text: string): void {
    this.#socket.ref();
    this.#timer = setTimeout(() => this.#end(new errors.HeadersTimeoutError()), this.#timeouts.headers);
    this.#socket.write(text, 'latin1');
  }

  /** @returns false: read no further until `resume` */
  #read(count: number): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#body !== undefined) this.#readBody(this.#body, count);
    else if (this.#waiting !== undefined) this.#readHead(this.#waiting, count);
    else this.#end(new errors.SocketError('bytes that nobody asked for'));
    if (this.#failure !== undefined) return false;
    const space = this.#body === undefined ? this.#headBuffer.subarray(this.#headFilled) : this.#body.space();
    this.#target = space ?? this.#headBuffer;
    this.#isPaused ||= space === undefined;
    return space !== undefined;
  }

  #readHead(waiting: Waiting, count: number): void {
    const before = this.#headFilled;
    this.#headFilled += count;
    const bytes = this.#headBuffer.subarray(0, this.#headFilled);
    const end = bytes.indexOf(headEnd, Math.max(before - headEnd.length + 1, 0));
    if (end < 0) {
      if (this.#headFilled === this.#headBuffer.length) this.#end(new NotReadHere(undefined));
      return;
    }
    const head = parseAnswerHead(bytes.toString('latin1', 0, end));
    if (head === undefined) {
      this.#end(new NotReadHere(statusOf(bytes)));
      return;
    }
    this.#headFilled = 0;
    this.#waiting = undefined;
    clearTimeout(this.#timer);
    this.#answer(waiting, head, bytes.subarray(end + headEnd.length));
  }

  /** @param rest what came with the head; it stands in the buffer for heads */
  #answer({ resolve }: Waiting, { status, headers, length, keepAlive }: AnswerHead, rest: Buffer): void {
    this.#keepAlive = rest.length > length ? 0 : keepAlive;
    if (rest.length >= length) {
      const bytes = length === 0 ? noBytes : Buffer.from(rest.subarray(0, length));
      this.#bodyEnded();
      resolve({ status, headers, body: new WholeBody(bytes) });
      return;
    }
    const source = {
      resume: () => this.#resume(body),
      cut: () => this.#end(new Error('the body was given up')),
    };
    const body = new SocketBody(source, length, this.#timeouts.idle);
    this.#body = body;
    if (rest.length > 0) body.arrived(rest);
    resolve({ status, headers, body });
  }

  #readBody(body: SocketBody, count: number): void {
    const bytes = Math.min(count, body.left);
    if (count > bytes) this.#keepAlive = 0;
    if (this.#target === this.#headBuffer) body.arrived(this.#headBuffer.subarray(0, bytes));
    else body.filled(bytes);
    if (body.left > 0) return;
    this.#body = undefined;
    this.#bodyEnded();
  }

  /** A body that has ended may wait to be read still, while the connection is another's. */
  #resume(body: SocketBody): void {
    if (this.#body !== body) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  #bodyEnded(): void {
    if (this.#keepAlive === 0) {
      this.#end(new Error('not kept'));
      return;
    }
    this.#idleUntil = performance.now() + this.#keepAlive;
    if (this.#isPaused) this.#socket.resume();
    this.#isPaused = false;
    this.#socket.unref();
    this.#events.idle(this);
  }

  #end(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    clearTimeout(this.#timer);
    this.#socket.destroy();
    const waiting = this.#waiting;
    const body = this.#body;
    this.#waiting = undefined;
    this.#body = undefined;
    waiting?.reject(reason);
    body?.fail(reason);
  }
}

function statusOf(head: Buffer): number | undefined {
  const status = /^HTTP\/1\.\d (\d{3})/.exec(head.toString('latin1', 0, 12))?.[1];
  return status === undefined ? undefined : Number(status);
}
