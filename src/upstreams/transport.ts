import { Readable } from 'node:stream';
import type { SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import type { Headers } from '../contracts/index.js';
import { untilAborted } from '../decorators/single-flight.js';
import { hasCode, RegistryError } from '../errors.js';
import { connectionHint, ProxiedError } from '../outgoing/connection-hint.js';
import { openDispatcher } from '../outgoing/dispatcher.js';
import { headerMap } from '../outgoing/header-map.js';
import { Reader } from '../outgoing/reader/reader.js';
import type { Secret } from '../secret.js';
import { OutgoingBody, watchSending } from './outgoing-body.js';

/** Milliseconds. */
export interface Timeouts {
  /** For TCP and TLS. */
  readonly connect: number;
  /** From a request until the headers of its answer. */
  readonly headers: number;
  /** Between two pieces of a body. */
  readonly idle: number;
  /** From the end of an upload until its answer. */
  readonly commit: number;
}

export interface TransportSettings {
  readonly timeouts: Timeouts;
  /** An origin's connections at the same time, in each of the pools. */
  readonly connections: number;
  /** Trusted beyond the system's roots. */
  readonly secureContext?: SecureContext;
  /** `http(s)://user:password@host:port`. */
  readonly proxy?: Secret;
}

export interface OutgoingRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | Readable;
  /** Which time is the answer's; `headers` where it is missing. */
  readonly answerWithin?: 'headers' | 'commit';
  /**
   * `pulls`, `blobs`: it moves as fast as a client does, or takes the longer the larger a blob is. Such requests have
   * connections of their own, so that slow clients keep no manifest and no token waiting. `pulls` is a GET whose answer is
   * expected to be plain bytes of known length, which are passed on without copies.
   */
  readonly pool?: 'pulls' | 'blobs';
  /** It does no harm twice, and has no stream for a body. GET and HEAD need not say it. */
  readonly repeatable?: boolean;
  /** Aborting it cuts the connection, also while the answer's body streams. */
  readonly signal: AbortSignal;
}

/** An answer with any status. Whoever gets it reads its body to the end or destroys it, which cuts the connection. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readable;
}

export interface Transport {
  /**
   * @throws RegistryError UNAVAILABLE where there is no answer; BLOB_UPLOAD_INVALID, SIZE_INVALID where the client's
   *   body is not whole; the signal's reason when that is aborted
   */
  send(request: OutgoingRequest): Promise<Answer>;
  close(): Promise<void>;
}

/**
 * HTTP/1.1 pools, three an origin: a single HTTP/2 connection would put all blobs under one flow-control window. What is
 * pulled is read by our own reader where it can be, and where no proxy is between (see docs/adr/0024).
 */
export class PooledTransport implements Transport {
  readonly #blobs: Dispatcher;
  readonly #others: Dispatcher;
  /** Absent where a proxy is between. */
  readonly #reader: Reader | undefined;
  readonly #timeouts: Timeouts;
  readonly #proxy: Secret | undefined;

  constructor(settings: TransportSettings) {
    this.#timeouts = settings.timeouts;
    this.#proxy = settings.proxy;
    this.#blobs = openDispatcher(settings);
    this.#others = openDispatcher(settings);
    if (settings.proxy === undefined) this.#reader = new Reader(settings);
  }

  async send(request: OutgoingRequest): Promise<Answer> {
    // A kept-alive connection may be closed by the other side just as a request is sent. What does no harm twice is
    // sent again, once.
    const isRead = request.body === undefined && (request.method === 'GET' || request.method === 'HEAD');
    const again = isRead || (request.repeatable === true && !(request.body instanceof Readable));
    try {
      return (isRead ? await this.#read(request) : undefined) ?? (await this.#sendOnce(request));
    } catch (error) {
      if (request.signal.aborted) throw request.signal.reason;
      if (!again || !wasClosed(error)) throw this.#noAnswer(request.url, error);
    }
    try {
      return await this.#sendOnce(request);
    } catch (error) {
      if (request.signal.aborted) throw request.signal.reason;
      throw this.#noAnswer(request.url, error);
    }
  }

  async close(): Promise<void> {
    this.#reader?.close();
    await Promise.all([this.#blobs, this.#others].map((pool) => pool.destroy().catch(() => {})));
  }

  /** @returns undefined where undici has to ask */
  async #read({ url, headers, pool, signal }: OutgoingRequest): Promise<Answer | undefined> {
    if (pool !== 'pulls') return undefined;
    signal.throwIfAborted();
    return this.#reader?.get({ url, headers, signal });
  }

  async #sendOnce(request: OutgoingRequest): Promise<Answer> {
    const { method, url, headers, body, signal, answerWithin, pool } = request;
    signal.throwIfAborted();
    const cutter = new AbortController();
    const onAbort = () => cutter.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const letGo = () => signal.removeEventListener('abort', onAbort);
    const sent = body instanceof Readable ? new OutgoingBody(body) : body;
    const streamed = sent instanceof OutgoingBody ? sent : undefined;
    const answerTime = this.#timeouts[answerWithin ?? 'headers'];
    const stop = this.#limit(streamed, answerTime, cutter);
    try {
      const asked = (pool === undefined ? this.#others : this.#blobs).request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: method as Dispatcher.HttpMethod,
        headers,
        body: sent ?? null,
        headersTimeout: streamed === undefined ? answerTime : 0,
        signal: cutter.signal,
      });
      // While it waits for a free connection undici does not look at the signal.
      const answer = await untilAborted(asked, cutter.signal);
      answer.body.on('error', () => {}); // it may fail before its reader has come
      answer.body.once('close', letGo);
      return { status: answer.statusCode, headers: headerMap(answer.headers), body: answer.body };
    } catch (error) {
      letGo();
      const failure = streamed === undefined ? undefined : clientFailure(streamed, error);
      streamed?.destroy();
      throw failure ?? error;
    } finally {
      stop();
    }
  }

  #noAnswer({ host }: URL, error: unknown): RegistryError {
    if (error instanceof RegistryError) return error;
    const cause = this.#proxy === undefined ? error : new ProxiedError(this.#proxy, error);
    const hint = connectionHint(cause);
    const reason = `no answer from ${host}${hint === undefined ? '' : `: ${hint}`}`;
    return new RegistryError('UNAVAILABLE', { reason, cause });
  }

  /** Also bounds the wait for a free connection. */
  #limit(streamed: OutgoingBody | undefined, answerTime: number, cutter: AbortController): () => void {
    const { connect, headers, idle } = this.#timeouts;
    const late = (reason: Error) => cutter.abort(reason);
    if (streamed !== undefined) {
      return watchSending(streamed, { begin: connect + headers, idle, answer: answerTime }, late);
    }
    const limit = connect + answerTime;
    const timer = setTimeout(() => late(new Error(`no answer within ${limit} ms`)), limit);
    return () => clearTimeout(timer);
  }
}

/** Where a body is not what the client said, no upstream is to blame. */
function clientFailure(body: OutgoingBody, error: unknown): RegistryError | undefined {
  if (body.clientFailed) {
    return new RegistryError('BLOB_UPLOAD_INVALID', {
      reason: 'the client cut its body short',
      cause: error,
    });
  }
  if (!hasCode(error, 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH')) return undefined;
  return new RegistryError('SIZE_INVALID', {
    reason: 'the body is not as long as the client said',
    cause: error,
  });
}

/** Closed by the other side before any answer. */
function wasClosed(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}
