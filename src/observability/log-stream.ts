import { write } from 'node:fs';

/** Characters that wait for a slow reader; what comes beyond is dropped. */
const maxWaiting = 8 * 1024 * 1024;
/** Milliseconds before a reader that is busy is tried again. */
const busyPause = 100;

/**
 * Writes lines to a file descriptor, one write after the other, and never makes anybody wait: a full disk or a reader
 * that does not read costs lines, not requests.
 */
export class LogStream {
  readonly #descriptor: number;
  readonly #onLoss: (how: 'dropped' | 'failed') => void;
  #waiting = '';
  #isWriting = false;
  #whenIdle: (() => void) | undefined;

  /** @param onLoss called for each line that was dropped, and for each write that failed */
  constructor(descriptor: number, onLoss: (how: 'dropped' | 'failed') => void) {
    this.#descriptor = descriptor;
    this.#onLoss = onLoss;
  }

  write(line: string): void {
    if (this.#waiting.length + line.length > maxWaiting) {
      this.#onLoss('dropped');
      return;
    }
    this.#waiting += line;
    if (!this.#isWriting) this.#writeNext();
  }

  /** Waits until all is written, at most `timeout` ms. Never rejects. */
  async flush(timeout: number): Promise<void> {
    if (!this.#isWriting) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeout);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #writeNext(): void {
    if (this.#waiting === '') {
      this.#isWriting = false;
      this.#whenIdle?.();
      return;
    }
    this.#isWriting = true;
    const bytes = Buffer.from(this.#waiting);
    this.#waiting = '';
    this.#write(bytes);
  }

  #write(bytes: Buffer): void {
    write(this.#descriptor, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') {
        setTimeout(() => this.#write(bytes), busyPause);
      } else if (error === null && written < bytes.length) {
        this.#write(bytes.subarray(written));
      } else {
        if (error !== null) this.#onLoss('failed');
        this.#writeNext();
      }
    });
  }
}
