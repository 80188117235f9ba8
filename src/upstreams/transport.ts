import type { Readable } from 'node:stream';
import type { SecureContext } from 'node:tls';
import { Agent, type Dispatcher, Pool, ProxyAgent } from 'undici';
import type { Headers } from '../contracts/index.js';
import { untilAborted } from '../decorators/single-flight.js';
import { RegistryError } from '../errors.js';
import type { Secret } from '../secret.js';
import { connectionHint } from './connection-hint.js';

/** Milliseconds. */
export interface Timeouts {
  /** For TCP and TLS. */
  readonly connect: number;
  /** From a request until the headers of its answer. */
  readonly headers: number;
  /** Between two pieces of a body. */
  readonly idle: number;
}

export interface TransportSettings {
  readonly timeouts: Timeouts;
  /** An origin's connections at the same time. */
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
  readonly body?: string | Readable;
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
  /** @throws RegistryError UNAVAILABLE where there is no answer; the signal's reason when that is aborted */
  send(request: OutgoingRequest): Promise<Answer>;
  close(): Promise<void>;
}

const idleConnection = 30_000;

/**
 * HTTP/1.1 pools, one an origin: a single HTTP/2 connection would put all blobs under one flow-control window.
 */
export class PooledTransport implements Transport {
  readonly #dispatcher: Dispatcher;
  readonly #timeouts: Timeouts;

  constructor(settings: TransportSettings) {
    this.#timeouts = settings.timeouts;
    this.#dispatcher = openDispatcher(settings);
  }

  async send(request: OutgoingRequest): Promise<Answer> {
    // A kept-alive connection may be closed by the other side just as a request is sent. What changes nothing and
    // has no body is sent again, once.
    const again = request.body === undefined && (request.method === 'GET' || request.method === 'HEAD');
    try {
      return await this.#sendOnce(request);
    } catch (error) {
      if (request.signal.aborted) throw request.signal.reason;
      if (!again || !wasClosed(error)) throw noAnswer(request.url, error);
    }
    try {
      return await this.#sendOnce(request);
    } catch (error) {
      if (request.signal.aborted) throw request.signal.reason;
      throw noAnswer(request.url, error);
    }
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy().catch(() => {});
  }

  async #sendOnce({ method, url, headers, body, signal }: OutgoingRequest): Promise<Answer> {
    signal.throwIfAborted();
    const cutter = new AbortController();
    const onAbort = () => cutter.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const letGo = () => signal.removeEventListener('abort', onAbort);
    // Also bounds the wait for a free connection. A request that carries a body takes as long as that.
    const limit = this.#timeouts.connect + this.#timeouts.headers;
    const timer =
      typeof body === 'object'
        ? undefined
        : setTimeout(() => cutter.abort(new Error(`no answer within ${limit} ms`)), limit);
    try {
      const asked = this.#dispatcher.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: method as Dispatcher.HttpMethod,
        headers,
        body: body ?? null,
        signal: cutter.signal,
      });
      // While it waits for a free connection undici does not look at the signal.
      const answer = await untilAborted(asked, cutter.signal);
      answer.body.on('error', () => {}); // it may fail before its reader has come
      answer.body.once('close', letGo);
      return { status: answer.statusCode, headers: headerMap(answer.headers), body: answer.body };
    } catch (error) {
      letGo();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

function openDispatcher({ timeouts, connections, secureContext, proxy }: TransportSettings): Dispatcher {
  const tls = { timeout: timeouts.connect, ...(secureContext && { secureContext }) };
  const options = {
    connections,
    pipelining: 1,
    allowH2: false,
    headersTimeout: timeouts.headers,
    bodyTimeout: timeouts.idle,
    keepAliveTimeout: idleConnection,
  };
  if (proxy === undefined) return new Agent({ ...options, connect: tls });
  const uri = new URL(proxy.reveal());
  const authorization = uri.username === '' ? undefined : basicAuthorization(uri);
  uri.username = '';
  uri.password = '';
  return new ProxyAgent({
    ...options,
    uri: uri.href,
    ...(authorization !== undefined && { token: authorization }),
    requestTls: tls,
    proxyTls: tls,
    clientFactory: (origin, opts) => new Pool(origin, { ...opts, headersTimeout: timeouts.connect }),
  });
}

function basicAuthorization(url: URL): string {
  const text = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return `Basic ${Buffer.from(text).toString('base64')}`;
}

/** Closed by the other side before any answer. */
function wasClosed(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}

function noAnswer(url: URL, cause: unknown): RegistryError {
  const hint = connectionHint(cause);
  const reason = `no answer from ${url.host}${hint === undefined ? '' : `: ${hint}`}`;
  return new RegistryError('UNAVAILABLE', { reason, cause });
}

function headerMap(headers: Record<string, string | string[] | undefined>): Headers {
  const map = new Map<string, string>();
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) map.set(name.toLowerCase(), Array.isArray(value) ? value.join(', ') : value);
  }
  return map;
}
