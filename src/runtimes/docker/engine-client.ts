import { Readable } from 'node:stream';
import { Pool } from 'undici';
import type { Log } from '../../contracts/log.js';
import { RuntimeError } from '../../contracts/runtime.js';
import { SingleFlight, untilAborted } from '../../decorators/single-flight.js';
import { parseJsonObject } from '../../protocol/json-object.js';
import { readBounded } from '../../protocol/read-bounded.js';
import { toldText } from '../../protocol/told-text.js';
import { type ApiVersion, apiVersionOf } from './api-version.js';
import { connectionFault } from './connection-fault.js';

export interface EngineCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Without the version: `/images/json`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** An answer with any status. */
export interface EngineAnswer {
  readonly status: number;
  readonly text: string;
}

/** The same, not read yet. Who does not read it to its end destroys it. */
export interface OpenAnswer {
  readonly status: number;
  readonly body: Readable;
}

/** Bytes: a list of ten thousand images has a few million. */
const maxAnswer = 64 * 1024 * 1024;
/** Kubelet's calls have two minutes; a disk that is busy with a pull makes the engine slow. */
const defaultPatience = 110_000;
const connectTimeout = 5_000;

/**
 * The Docker Engine API on a unix socket. Each request has a connection of its own: one that was kept may lead to an
 * engine that is gone, and the socket may be another one by now.
 */
export class EngineClient {
  readonly #endpoint: string;
  readonly #pool: Pool;
  readonly #patience: number;
  readonly #log: Log;
  readonly #asking: SingleFlight<ApiVersion>;
  #version: ApiVersion | undefined;

  /**
   * @param path of the socket
   * @param patience milliseconds for a whole answer; what `open` gives has no limit
   */
  constructor(path: string, log: Log, patience = defaultPatience) {
    this.#endpoint = `unix://${path}`;
    this.#pool = new Pool('http://docker', {
      connect: { socketPath: path, timeout: connectTimeout },
      pipelining: 0,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    this.#patience = patience;
    this.#asking = new SingleFlight(patience);
    this.#log = log;
  }

  /**
   * @param timeout milliseconds, where it is to be less than usual
   * @throws RuntimeError `unavailable` where there is no answer, or none that is whole, bounded and in time; the
   *   signal's reason
   */
  async call(asked: EngineCall, timeout = this.#patience): Promise<EngineAnswer> {
    const { signal } = asked;
    signal.throwIfAborted();
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(this.#silent(timeout)), timeout);
    const onAbort = () => limit.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const answer = await this.open({ ...asked, signal: limit.signal });
      return { status: answer.status, text: await this.text(answer, limit.signal) };
    } catch (error) {
      throw limit.signal.aborted ? limit.signal.reason : error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** @throws RuntimeError `unavailable`; the signal's reason */
  async open(asked: EngineCall): Promise<OpenAnswer> {
    const answer = await this.#request(asked, await this.version(asked.signal));
    if (answer.status !== 400) return answer;
    // Somebody put another engine in its place: asked once more, by its version.
    const text = await this.text(answer, asked.signal);
    if (!/client version \S+ is too (?:old|new)/.test(text))
      return { status: 400, body: Readable.from([Buffer.from(text)]) };
    this.#version = undefined;
    return this.#request(asked, await this.version(asked.signal));
  }

  /** The version that this client and the engine both speak. @throws as `open` does, and RuntimeError `failed` */
  async version(signal: AbortSignal): Promise<ApiVersion> {
    if (this.#version !== undefined) return this.#version;
    try {
      this.#version = await this.#asking.run('version', { signal }, (stop) => this.#askVersion(stop));
      return this.#version;
    } catch (error) {
      signal.throwIfAborted();
      throw this.lost(error);
    }
  }

  /** What went wrong with the connection, after which nothing is known of the engine any more. */
  lost(error: unknown): RuntimeError {
    if (error instanceof RuntimeError && error.fault !== 'unavailable') return error;
    this.#version = undefined;
    if (error instanceof RuntimeError) return error;
    const message = `the Docker Engine does not answer at ${this.#endpoint}: ${connectionFault(error)}`;
    return new RuntimeError('unavailable', message, { cause: error });
  }

  async close(): Promise<void> {
    this.#asking.close();
    await this.#pool.destroy().catch(() => {});
  }

  async #askVersion(signal: AbortSignal): Promise<ApiVersion> {
    const answer = await this.#request({ method: 'GET', path: '/version', signal });
    const text = await this.text(answer, signal);
    if (answer.status !== 200) throw unexpected('GET /version', { status: answer.status, text });
    const version = apiVersionOf(parseJsonObject(text) ?? {});
    this.#log.debug(
      { endpoint: this.#endpoint, version: version.text },
      'the version of the Docker Engine API',
    );
    return version;
  }

  async #request(asked: EngineCall, version?: ApiVersion): Promise<OpenAnswer> {
    const { method, path, query = {}, headers = {}, signal } = asked;
    signal.throwIfAborted();
    const search = new URLSearchParams(query).toString();
    const prefix = version === undefined ? '' : `/v${version.text}`;
    try {
      const request = this.#pool.request({
        method,
        path: `${prefix}${path}${search === '' ? '' : `?${search}`}`,
        headers: { 'user-agent': 'kubelet-image-service', ...headers },
        signal,
      });
      // While it waits for a connection undici does not look at the signal.
      const { statusCode, body } = await untilAborted(request, signal);
      return { status: statusCode, body };
    } catch (error) {
      signal.throwIfAborted();
      throw this.lost(error);
    }
  }

  /** Reads an answer of `open` whole. @throws RuntimeError `unavailable`; the signal's reason */
  async text({ body }: OpenAnswer, signal: AbortSignal): Promise<string> {
    try {
      const bytes = await untilAborted(readBounded(body, maxAnswer, this.#patience), signal);
      if (bytes === undefined) throw new Error(`an answer of more than ${maxAnswer} bytes`);
      return bytes.toString('utf8');
    } catch (error) {
      signal.throwIfAborted();
      throw this.lost(error);
    }
  }

  #silent(timeout: number): RuntimeError {
    this.#version = undefined;
    const seconds = Math.ceil(timeout / 1000);
    return new RuntimeError(
      'unavailable',
      `the Docker Engine at ${this.#endpoint} gave no answer within ${seconds} s`,
    );
  }
}

/** What the engine says in an answer that is an error (Docker Engine API, `ErrorResponse`). */
export function messageOf({ text }: EngineAnswer): string {
  const message = parseJsonObject(text)?.message;
  return typeof message === 'string' && message !== '' ? message : text;
}

/** An answer that nobody expected. */
export function unexpected(what: string, answer: EngineAnswer): RuntimeError {
  const said = toldText(messageOf(answer));
  const fault = /no space left on device/i.test(said) ? 'full' : 'failed';
  return new RuntimeError(fault, `the Docker Engine answers ${answer.status} to ${what}: ${said}`);
}
