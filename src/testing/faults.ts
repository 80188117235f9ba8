import type { LoggedRequest, RequestMatch } from './request-log.js';

/** What goes wrong. Members combine: a delay, then a cut body. */
export interface FaultEffect {
  /** Milliseconds before anything else. */
  readonly delay?: number;
  /** The connection is reset, without an answer. */
  readonly reset?: boolean;
  /** Answered instead of the real answer. */
  readonly answer?: {
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string | Uint8Array;
  };
  /** Added to the real answer, or replacing its headers; an empty value takes one away. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The connection ends after so many bytes of the body. */
  readonly cutAfter?: number;
  /** Nothing comes any more after so many bytes of the body; the connection stays. */
  readonly stallAfter?: number;
  /** The body without Content-Length: chunked, or delimited by the end of the connection. */
  readonly framing?: 'chunked' | 'close';
  /** Flips one bit of the body at this byte. */
  readonly corruptAt?: number;
  /** The request's body is read this slowly: bytes a second. */
  readonly bodyRate?: number;
  /** The connection is reset once so many bytes of the request's body were read. */
  readonly resetAfter?: number;
}

export interface FaultMatch {
  readonly server?: LoggedRequest['server'];
  readonly method?: string;
  /** A part of the path with its query, or a pattern for it. */
  readonly path?: string | RegExp;
}

interface Fault {
  readonly match: RequestMatch;
  readonly effect: FaultEffect;
  left: number;
}

/** What is to go wrong, and for which requests. Changed at any time; it counts from the next request. */
export class Faults {
  readonly #faults: Fault[] = [];

  /**
   * @param times for how many requests; without it for all
   * @returns takes the fault away again
   */
  add(match: FaultMatch | RequestMatch, effect: FaultEffect, times = Number.POSITIVE_INFINITY): () => void {
    const fault: Fault = { match: matcherOf(match), effect, left: times };
    this.#faults.push(fault);
    return () => {
      fault.left = 0;
    };
  }

  clear(): void {
    this.#faults.length = 0;
  }

  /** The first fault that matches and is not used up; it is counted as used. */
  take(request: LoggedRequest): FaultEffect | undefined {
    const fault = this.#faults.find((candidate) => candidate.left > 0 && candidate.match(request));
    if (!fault) return undefined;
    fault.left--;
    return fault.effect;
  }
}

function matcherOf(match: FaultMatch | RequestMatch): RequestMatch {
  if (typeof match === 'function') return match;
  const { server, method, path } = match;
  return (request) =>
    (server === undefined || request.server === server) &&
    (method === undefined || request.method === method) &&
    (path === undefined ||
      (typeof path === 'string' ? request.path.includes(path) : path.test(request.path)));
}
