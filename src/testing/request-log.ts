import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';

/** One request as a server of the memory registry received it. */
export interface LoggedRequest {
  readonly server: 'registry' | 'token' | 'storage';
  readonly method: string;
  /** With its query, as it was sent. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** As received: name, value, name, value, … */
  readonly rawHeaders: readonly string[];
  /** The client's port: equal for requests over one connection. */
  readonly remotePort: number | undefined;
  /** 0 until it was answered. */
  readonly status: number;
  /** The answer left whole. */
  readonly finished: boolean;
  /** The client went away before the whole answer had left; false where a fault cut it. */
  readonly closedEarly: boolean;
  /** Bytes of the request's body that were read. */
  readonly receivedBytes: number;
  /** Bytes of the answer's body that were handed to the connection. */
  readonly sentBytes: number;
  /** Resolves when it is over, one way or the other. */
  readonly settled: Promise<void>;
}

/** What the servers write into a logged request while it goes on. */
export type OpenRequest = { -readonly [K in keyof LoggedRequest]: LoggedRequest[K] } & {
  cutByFault: boolean;
};

export type RequestMatch = (request: LoggedRequest) => boolean;

/** Every request, in the order they arrived. */
export class RequestLog {
  readonly requests: LoggedRequest[] = [];
  readonly #waiting = new Set<() => void>();

  add(server: LoggedRequest['server'], request: IncomingMessage, response: ServerResponse): OpenRequest {
    const settled = new Promise<void>((resolve) => response.once('close', resolve));
    const entry: OpenRequest = {
      server,
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      rawHeaders: request.rawHeaders,
      remotePort: request.socket.remotePort,
      status: 0,
      finished: false,
      closedEarly: false,
      receivedBytes: 0,
      sentBytes: 0,
      settled,
      cutByFault: false,
    };
    response.once('close', () => {
      entry.finished = response.writableFinished;
      entry.closedEarly = !response.writableFinished && !entry.cutByFault;
      this.#wake();
    });
    this.requests.push(entry);
    this.#wake();
    return entry;
  }

  /** @throws Error where none matches within `timeout` milliseconds */
  async waitFor(match: RequestMatch, timeout: number): Promise<LoggedRequest> {
    const deadline = Date.now() + timeout;
    for (;;) {
      const found = this.requests.find(match);
      if (found) return found;
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`no such request arrived within ${timeout} ms`);
      await this.#change(left);
    }
  }

  #change(timeout: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, timeout);
      this.#waiting.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
