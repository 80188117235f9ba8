import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { ClientGone } from './client-gone.js';

/**
 * The body of a request, read only as fast as it is asked for. Destroying it leaves the client's connection alone: that
 * still has to carry the answer.
 */
export class RequestBody extends Readable {
  /** Bytes so far. */
  received = 0;
  readonly #request: IncomingMessage;
  #begin: (() => void) | undefined;

  /** @param begin called before the first byte is read: what `Expect: 100-continue` waits for */
  constructor(request: IncomingMessage, begin: () => void) {
    super();
    this.#request = request;
    this.#begin = begin;
    this.on('error', () => {}); // it may fail while nobody reads it
  }

  override _read(): void {
    const begin = this.#begin;
    this.#begin = undefined;
    if (begin !== undefined) {
      this.#request.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose);
      this.#request.on('error', this.#onClose);
      // Destroyed, it gives nothing any more, not even what had arrived whole.
      if (this.#request.destroyed) this.#onClose();
      else begin();
    }
    this.#request.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#request.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose).pause();
    done(error);
  }

  readonly #onData = (chunk: Buffer) => {
    this.received += chunk.length;
    if (!this.push(chunk)) this.#request.pause();
  };
  readonly #onEnd = () => {
    this.push(null);
  };
  readonly #onClose = () => {
    if (!this.#request.readableEnded) this.destroy(new ClientGone());
  };
}
