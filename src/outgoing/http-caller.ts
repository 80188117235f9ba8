import { resolve } from 'node:path';
import type { Dispatcher } from 'undici';
import type { CallOptions, Closable, Headers as HeaderMap } from '../contracts/index.js';
import { untilAborted } from '../decorators/single-flight.js';
import { RegistryError } from '../errors.js';
import { readBounded } from '../protocol/read-bounded.js';
import type { Secret } from '../secret.js';
import type { ServerSettings } from '../settings/server-keys.js';
import { connectionHint, ProxiedError } from './connection-hint.js';
import { openDispatcher } from './dispatcher.js';
import { headerMap } from './header-map.js';
import { trustWith } from './trust.js';

export interface HttpCall extends CallOptions {
  readonly url: URL;
  readonly method?: 'GET' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** An answer with any status. */
export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: HeaderMap;
  readonly text: string;
  /** The same as it came: certificates are no text. */
  readonly bytes: Buffer;
}

/** Bytes of an answer: key sets and token answers are far smaller. */
const maxAnswer = 1024 * 1024;
const connections = 64;

/**
 * Asks servers for small answers: identity providers, API servers, webhooks. Every wait and every size has a bound;
 * redirects are answers and never followed, so that a secret reaches only the host it was meant for (threat 7).
 */
export class HttpCaller implements Closable {
  readonly #dispatcher: Dispatcher;
  readonly #timeout: number;
  readonly #proxy: Secret | undefined;

  /** @param proxy what the dispatcher goes through, for messages */
  constructor(dispatcher: Dispatcher, timeout: number, proxy?: Secret) {
    this.#dispatcher = dispatcher;
    this.#timeout = timeout;
    this.#proxy = proxy;
  }

  /** @throws an Error with a one-line message where the CA file cannot be used */
  static async open({ ca, proxy, timeout }: ServerSettings, baseDirectory: string): Promise<HttpCaller> {
    const secureContext = ca && (await trustWith(resolve(baseDirectory, ca.text)));
    const dispatcher = openDispatcher({
      timeouts: { connect: timeout, headers: timeout, idle: timeout },
      connections,
      ...(secureContext && { secureContext }),
      ...(proxy && { proxy }),
    });
    return new HttpCaller(dispatcher, timeout, proxy);
  }

  /** @throws RegistryError UNAVAILABLE where there is no answer, or none that is whole, small and in time */
  async call({ url, method = 'GET', headers = {}, body, signal }: HttpCall): Promise<HttpAnswer> {
    signal.throwIfAborted();
    const limit = new AbortController();
    const timer = setTimeout(
      () => limit.abort(new Error(`no answer within ${this.#timeout} ms`)),
      this.#timeout,
    );
    const onAbort = () => limit.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const { origin, pathname, search } = url;
      const asked = this.#dispatcher.request({
        ...{ origin, path: `${pathname}${search}`, method },
        headers: { accept: 'application/json', 'user-agent': 'docker-registry-proxy', ...headers },
        body: body ?? null,
        signal: limit.signal,
      });
      // While it waits for a free connection undici does not look at the signal.
      const answer = await untilAborted(asked, limit.signal);
      const bytes = await untilAborted(readBounded(answer.body, maxAnswer, this.#timeout), limit.signal);
      if (bytes === undefined) throw new Error(`the answer is larger than ${maxAnswer} bytes`);
      const { statusCode: status } = answer;
      return { status, headers: headerMap(answer.headers), text: bytes.toString('utf8'), bytes };
    } catch (error) {
      signal.throwIfAborted();
      throw this.#noAnswer(url, limit.signal.aborted ? limit.signal.reason : error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** The same as `fetch`, for libraries that take one. Takes a text or URLSearchParams as a body. */
  readonly fetch: typeof fetch = async (input, init = {}) => {
    const { status, headers, text } = await this.call({
      url: new URL(input instanceof Request ? input.url : input),
      method: init.method === 'POST' ? 'POST' : 'GET',
      headers: Object.fromEntries(new Headers(init.headers)),
      ...(init.body != null && { body: String(init.body) }),
      signal: init.signal ?? new AbortController().signal,
    });
    const hasBody = status !== 204 && status !== 205 && status !== 304;
    return new Response(hasBody ? text : null, { status, headers: [...headers] });
  };

  async close(): Promise<void> {
    await this.#dispatcher.destroy().catch(() => {});
  }

  #noAnswer({ host }: URL, error: unknown): RegistryError {
    const cause = this.#proxy === undefined ? error : new ProxiedError(this.#proxy, error);
    const hint = connectionHint(cause);
    const reason = `no answer from ${host}${hint === undefined ? '' : `: ${hint}`}`;
    return new RegistryError('UNAVAILABLE', { reason, cause });
  }
}
