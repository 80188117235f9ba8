import { Readable } from 'node:stream';

/** Milliseconds. */
export interface SendTimes {
  /** Until the upstream takes the first byte: for a free connection, TCP and TLS. */
  readonly begin: number;
  /** For which the upstream may take nothing although there is something to take. */
  readonly idle: number;
  /** From the last byte until the answer. */
  readonly answer: number;
}

/**
 * A client's body on its way up. Nothing of it is read before the upstream's connection wants it, and then only as fast
 * as that takes it. Destroying it destroys the client's, and not the other way round only: who ended it first is known.
 */
export class OutgoingBody extends Readable {
  readonly #source: Readable;
  #begun = false;
  #failed = false;

  constructor(source: Readable) {
    super();
    this.#source = source;
    source.on('error', () => {}); // it may fail after nobody reads it any more
    this.on('error', () => {});
  }

  /** True where the client's side ended it, not the upstream's. */
  get clientFailed(): boolean {
    return this.#failed;
  }

  override _read(): void {
    const source = this.#source;
    if (!this.#begun) {
      this.#begun = true;
      source.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose);
      if (source.destroyed) this.#onClose();
    }
    source.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#source.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    this.#source.destroy();
    done(error);
  }

  readonly #onData = (chunk: Buffer) => {
    if (!this.push(chunk)) this.#source.pause();
  };
  readonly #onEnd = () => {
    this.push(null);
  };
  readonly #onClose = () => {
    if (this.#source.readableEnded) return;
    this.#failed = true;
    this.destroy(this.#source.errored ?? new Error('the body was cut short'));
  };
}

/**
 * Gives a request with a body as long as it moves. The client's pauses are not the upstream's: only the time in which
 * the connection is full counts. undici's own limit knows one time for both, for a full connection and for the answer.
 *
 * @param late called once, with the reason
 * @returns ends the watch
 */
export function watchSending(body: Readable, times: SendTimes, late: (reason: Error) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const wait = (time: number, what: string) => {
    clearTimeout(timer);
    timer = setTimeout(() => late(new Error(`${what} within ${time} ms`)), time);
  };
  const onPause = () => wait(times.idle, 'the upstream took nothing');
  // Its event comes late: it may have been paused again since.
  const onResume = () => {
    if (!body.isPaused()) clearTimeout(timer);
  };
  const onEnd = () => {
    body.off('pause', onPause).off('resume', onResume);
    wait(times.answer, 'no answer to a whole body');
  };
  wait(times.begin, 'no connection');
  // Whoever writes it to the connection pauses it when that is full.
  body.on('pause', onPause).on('resume', onResume).once('end', onEnd);
  return () => {
    clearTimeout(timer);
    body.off('pause', onPause).off('resume', onResume).off('end', onEnd);
  };
}
