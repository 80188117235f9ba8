import type { ClientHttp2Session } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../contracts/log.js';
import { describeError } from '../../errors.js';
import { openSession } from './open-session.js';

/** Milliseconds between two tries to connect: doubled from the first to the last. */
const firstPause = 50;
const lastPause = 1_000;

export interface LastingSessionOptions {
  /** The socket's path. */
  readonly path: string;
  /** For the log: `unix:///run/containerd/containerd.sock`. */
  readonly endpoint: string;
  readonly log: Log;
  /** Milliseconds; for tests. */
  readonly greetingTimeout?: number;
}

/** No session came in time. The message is one line: why the last try failed. */
export class NotConnected extends Error {
  override readonly name = 'NotConnected';
}

/**
 * One HTTP/2 session to a runtime, opened anew for ever: a runtime that is restarted binds its socket anew, and its old
 * connections end. A session whose end is announced (GOAWAY) finishes the calls it has, and takes no more.
 */
export class LastingSession {
  readonly #options: LastingSessionOptions;
  readonly #ending = new AbortController();
  readonly #kept: Promise<void>;
  readonly #alive = new Set<ClientHttp2Session>();
  readonly #waiting = new Set<(session: ClientHttp2Session) => void>();
  #current: { readonly session: ClientHttp2Session; readonly retire: () => void } | undefined;
  #lastFailure = 'it has not answered yet';
  /** What the log says of it. */
  #told: 'nothing' | 'connected' | 'missing' = 'nothing';
  #wasConnected = false;

  constructor(options: LastingSessionOptions) {
    this.#options = options;
    this.#kept = this.#keep();
  }

  get isConnected(): boolean {
    return this.#usable() !== undefined;
  }

  /**
   * @param o.patience milliseconds
   * @throws NotConnected where there is none in time; the signal's reason
   */
  async get({ signal, patience }: { signal: AbortSignal; patience: number }): Promise<ClientHttp2Session> {
    signal.throwIfAborted();
    return this.#usable() ?? (await this.#next(signal, patience));
  }

  /** It can begin no call any more, though it has not said so. */
  retire(session: ClientHttp2Session): void {
    if (this.#current?.session === session) this.#current.retire();
    session.close();
  }

  /** Cuts all calls. */
  async close(): Promise<void> {
    this.#ending.abort(new NotConnected('it is not used any more'));
    for (const session of this.#alive) session.destroy();
    await this.#kept;
  }

  /** Node may know that a session has ended before its events say so. */
  #usable(): ClientHttp2Session | undefined {
    const session = this.#current?.session;
    return session === undefined || session.closed || session.destroyed ? undefined : session;
  }

  #next(signal: AbortSignal, patience: number): Promise<ClientHttp2Session> {
    return new Promise((resolve, reject) => {
      const settle = (end: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(onSession);
        for (const one of [signal, this.#ending.signal]) one.removeEventListener('abort', onAbort);
        end();
      };
      const onSession = (session: ClientHttp2Session) => settle(() => resolve(session));
      const onAbort = () => settle(() => reject(signal.aborted ? signal.reason : this.#ending.signal.reason));
      const timer = setTimeout(
        () => settle(() => reject(new NotConnected(this.#lastFailure))),
        Math.max(patience, 0),
      );
      this.#waiting.add(onSession);
      for (const one of [signal, this.#ending.signal]) one.addEventListener('abort', onAbort, { once: true });
      if (this.#ending.signal.aborted) onAbort();
    });
  }

  async #keep(): Promise<void> {
    const { signal } = this.#ending;
    let pause = firstPause;
    while (!signal.aborted) {
      try {
        const session = await openSession(this.#options.path, { signal, ...this.#greeting() });
        const since = performance.now();
        await this.#use(session);
        // One that comes and goes at once must not be asked in a tight circle.
        if (performance.now() - since >= lastPause) pause = firstPause;
      } catch (error) {
        this.#lastFailure = describeError(error);
      }
      if (signal.aborted) return;
      this.#tellMissing();
      await sleep(pause, undefined, { signal }).catch(() => undefined);
      pause = Math.min(pause * 2, lastPause);
    }
  }

  #greeting(): { readonly greetingTimeout?: number } {
    const { greetingTimeout } = this.#options;
    return greetingTimeout === undefined ? {} : { greetingTimeout };
  }

  /** Ends when the session takes no more calls. */
  async #use(session: ClientHttp2Session): Promise<void> {
    this.#alive.add(session);
    session.once('close', () => this.#alive.delete(session));
    this.#tellConnected();
    await new Promise<void>((resolve) => {
      this.#current = { session, retire: resolve };
      session.once('goaway', () => resolve());
      session.once('close', () => resolve());
      if (session.destroyed || session.closed) resolve();
      else for (const onSession of [...this.#waiting]) onSession(session);
    });
    this.#current = undefined;
    this.#lastFailure = 'it ended the connection';
  }

  #tellConnected(): void {
    const { log, endpoint } = this.#options;
    const again = this.#wasConnected ? ' again' : '';
    this.#told = 'connected';
    this.#wasConnected = true;
    log.info({ runtime: endpoint }, `connected to the container runtime${again}`);
  }

  #tellMissing(): void {
    if (this.#told === 'missing') return;
    const { log, endpoint } = this.#options;
    const message =
      this.#told === 'connected'
        ? 'the connection to the container runtime is lost; connecting again'
        : 'the container runtime cannot be reached yet; calls wait, and it is tried again';
    this.#told = 'missing';
    log.warn({ runtime: endpoint, reason: this.#lastFailure }, message);
  }
}
