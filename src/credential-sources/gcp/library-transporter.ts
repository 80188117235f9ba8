import type { gaxios } from 'google-auth-library';
import { RegistryError } from '../../errors.js';
import type { HttpCall, HttpCaller } from '../../outgoing/http-caller.js';
import { isAskedWith } from './asked-urls.js';
import { describeRefusal } from './google-errors.js';
import type { KeyFile } from './key-file.js';
import { isMachineUrl } from './key-file-urls.js';

export interface Callers {
  readonly caller: HttpCaller;
  /** For servers of the machine itself. */
  readonly direct: HttpCaller;
}

/** What google-auth-library gives its transport. */
interface LibraryRequest {
  readonly url?: string | URL;
  readonly method?: string;
  readonly headers?: ConstructorParameters<typeof Headers>[0];
  readonly data?: unknown;
  readonly responseType?: string;
}

/**
 * Sends what google-auth-library asks for through our own callers: bounded, trusting what `ca` names, through `proxy`,
 * with no redirects, and once (the library would try again after each 5xx, which is for our caller to decide).
 */
export class LibraryTransporter {
  /** Why there is no token; what the library makes of it may hold what was sent. */
  failure: RegistryError | undefined;
  readonly #callers: Callers;
  readonly #key: KeyFile;
  readonly #signal: AbortSignal;

  constructor(callers: Callers, key: KeyFile, signal: AbortSignal) {
    this.#callers = callers;
    this.#key = key;
    this.#signal = signal;
  }

  /** Of gaxios the library uses `request` alone. */
  asGaxios(): gaxios.Gaxios {
    return this as unknown as gaxios.Gaxios;
  }

  async request(request: LibraryRequest): Promise<{ status: number; data: unknown }> {
    const url = new URL(request.url ?? '');
    if (!isAskedWith(this.#key, url)) {
      const reason = `the key file has tokens sent to ${url.host}, which it is not for: nothing was sent`;
      throw this.#fail(new RegistryError('UNAVAILABLE', { reason }));
    }
    const caller = isMachineUrl(url) ? this.#callers.direct : this.#callers.caller;
    const { status, text } = await caller
      .call({ url, signal: this.#signal, ...partsOf(request) })
      .catch((error: unknown) => {
        throw this.#fail(error);
      });
    if (status < 200 || status >= 300) {
      const reason = describeRefusal(this.#key, { url, status, text });
      throw this.#fail(new RegistryError('UNAVAILABLE', { reason }));
    }
    if (request.responseType === 'text') return { status, data: text };
    return { status, data: this.#parse(url, text) };
  }

  #parse(url: URL, text: string): unknown {
    try {
      const data: unknown = JSON.parse(text);
      if (typeof data === 'object' && data !== null) return data;
    } catch {
      // What is no JSON is not quoted: it may be a token.
    }
    throw this.#fail(new RegistryError('UNAVAILABLE', { reason: `${url.host} gives no JSON` }));
  }

  /** The library rewrites the errors it catches: ours is kept, and it gets another. */
  #fail(error: unknown): Error {
    if (error instanceof RegistryError) this.failure ??= error;
    return new Error('no token');
  }
}

function partsOf({ method, headers, data }: LibraryRequest): Pick<HttpCall, 'method' | 'headers' | 'body'> {
  const all = Object.fromEntries(new Headers(headers));
  const known = method === 'POST' || method === 'PUT' ? method : 'GET';
  if (data === undefined) return { method: known, headers: all };
  const form = data instanceof URLSearchParams;
  const type = form ? 'application/x-www-form-urlencoded' : 'application/json';
  const body = form ? data.toString() : JSON.stringify(data);
  return { method: known, headers: { 'content-type': type, ...all }, body };
}
