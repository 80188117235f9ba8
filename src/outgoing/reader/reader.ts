import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { Readable } from 'node:stream';
import { WholeBody } from '../../protocol/byte-budget.js';
import { Connection, type ConnectionSettings, NotReadHere, type ReaderAnswer } from './connection.js';

export interface ReaderSettings extends ConnectionSettings {
  /** An origin's connections at the same time. */
  readonly connections: number;
}

export interface ReaderRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Aborting it cuts the connection, also while the answer's body arrives. */
  readonly signal: AbortSignal;
}

/** Milliseconds in which an origin that answers in other ways is not asked. */
const notAskedFor = 10 * 60_000;
const sweepEvery = 5_000;

/**
 * Sends GET, and reads the answers without copying them, where they are plain: what is not is left to a client
 * that knows all of HTTP. Connections are kept, by origin.
 */
export class Reader {
  readonly #settings: ReaderSettings;
  readonly #origins = new Map<string, OriginPool>();
  /** Until when an origin is not asked, in milliseconds of `performance.now`. */
  readonly #others = new Map<string, number>();
  readonly #sweep: NodeJS.Timeout;
  #isClosed = false;

  constructor(settings: ReaderSettings) {
    this.#settings = settings;
    this.#sweep = setInterval(() => this.#closeStale(), sweepEvery);
    this.#sweep.unref();
  }

  /**
   * @returns undefined where its answer is not plain, or would not be: another client has to ask
   * @throws the signal's reason; what the connection fails with, as undici would (its `code` says what)
   */
  async get({ url, headers, signal }: ReaderRequest): Promise<ReaderAnswer | undefined> {
    if (this.#isClosed || this.#isOther(url.origin)) return undefined;
    const text = requestText(url, headers);
    const pool = this.#poolOf(url);
    const connection = await pool.take(signal);
    let body: Readable | undefined;
    const onAbort = () =>
      body === undefined ? connection.close(signal.reason) : body.destroy(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    const letGo = () => signal.removeEventListener('abort', onAbort);
    try {
      const answer = await connection.ask(text);
      if (answer.body instanceof WholeBody)
        letGo(); // it has come
      else body = answer.body.once('close', letGo);
      return answer;
    } catch (error) {
      letGo();
      if (!(error instanceof NotReadHere)) throw error;
      // Refusals have other shapes than what is refused.
      if (error.status === undefined || error.status < 400) {
        this.#others.set(url.origin, performance.now() + notAskedFor);
      }
      return undefined;
    }
  }

  /** Cuts all connections. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#sweep);
    for (const pool of this.#origins.values()) pool.close();
  }

  #isOther(origin: string): boolean {
    const until = this.#others.get(origin);
    if (until === undefined) return false;
    if (until > performance.now()) return true;
    this.#others.delete(origin);
    return false;
  }

  #poolOf(url: URL): OriginPool {
    const { origin } = url;
    let pool = this.#origins.get(origin);
    if (pool === undefined) {
      pool = new OriginPool(new URL(origin), this.#settings);
      this.#origins.set(origin, pool);
    }
    return pool;
  }

  #closeStale(): void {
    for (const [origin, pool] of this.#origins) {
      pool.closeStale();
      if (pool.isEmpty) this.#origins.delete(origin);
    }
  }
}

interface Turn {
  resolve(connection: Connection): void;
}

class OriginPool {
  readonly #origin: URL;
  readonly #settings: ReaderSettings;
  readonly #open = new Set<Connection>();
  /** The one used last is used next. */
  readonly #idle: Connection[] = [];
  readonly #waiting = new Set<Turn>();
  #session: Buffer | undefined;

  constructor(origin: URL, settings: ReaderSettings) {
    this.#origin = origin;
    this.#settings = settings;
  }

  get isEmpty(): boolean {
    return this.#open.size === 0 && this.#waiting.size === 0;
  }

  /** @throws where all connections are in use: the signal's reason when that is aborted; an Error when it takes too long */
  take(signal: AbortSignal): Connection | Promise<Connection> {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isFresh) return connection;
      connection.close(new Error('not used for too long'));
    }
    if (this.#open.size < this.#settings.connections) return this.#connect();
    const { connect, headers } = this.#settings.timeouts;
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#waiting.delete(turn);
      };
      const onAbort = () => {
        end();
        reject(signal.reason);
      };
      const onLate = () => {
        end();
        reject(new Error(`no free connection within ${connect + headers} ms`));
      };
      const timer = setTimeout(onLate, connect + headers);
      const turn: Turn = {
        resolve: (connection) => {
          end();
          resolve(connection);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(turn);
    });
  }

  closeStale(): void {
    for (const connection of this.#idle.filter(({ isFresh }) => !isFresh)) {
      connection.close(new Error('not used for too long'));
    }
  }

  close(): void {
    for (const connection of this.#open) connection.close(new Error('the client is closed'));
  }

  #connect(): Connection {
    const events = {
      idle: (one: Connection) => this.#isIdle(one),
      closed: (one: Connection) => this.#closed(one),
      session: (session: Buffer) => {
        this.#session = session;
      },
    };
    const connection = new Connection(this.#origin, this.#settings, events, this.#session);
    this.#open.add(connection);
    return connection;
  }

  #isIdle(connection: Connection): void {
    const turn = this.#next();
    if (turn === undefined) this.#idle.push(connection);
    else turn.resolve(connection);
  }

  #closed(connection: Connection): void {
    this.#open.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#next()?.resolve(this.#connect());
  }

  #next(): Turn | undefined {
    const [turn] = this.#waiting;
    if (turn !== undefined) this.#waiting.delete(turn);
    return turn;
  }
}

/** @throws TypeError where a header could be read as something else */
function requestText(url: URL, headers: Readonly<Record<string, string>>): string {
  let text = `GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\nconnection: keep-alive\r\n`;
  for (const name in headers) {
    const value = headers[name] ?? '';
    validateHeaderName(name);
    validateHeaderValue(name, value);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}
