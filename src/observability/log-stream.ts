import { write } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../errors.js';

/** Characters that wait for a slow reader; what comes beyond is dropped. */
const maxWaiting = 8 * 1024 * 1024;
/** Milliseconds before a reader that is busy is tried again. */
const busyPause = 100;
/** Milliseconds before the next try after one that failed. */
const failurePause = 1000;

const newline = Buffer.from('\n');

/** Where lines go. A stream makes one call after the other. */
export interface LineTarget {
  /**
   * Called before lines are written.
   *
   * @returns false where what stands there ends in the middle of a line
   * @throws an Error where nothing can be written now
   */
  ready(): Promise<boolean>;

  /** @returns how many of the bytes were taken. @throws an Error where none was; EAGAIN: to be tried again soon */
  append(bytes: Buffer): Promise<number>;
}

/** `dropped`: too many waited. `failed`: they could not be written. */
export type LossKind = 'dropped' | 'failed';

/** Told of lines that were lost; `error` says why writing failed. */
export type OnLoss = (how: LossKind, lines: number, error?: unknown) => void;

/**
 * Writes lines one batch after the other, and never makes anybody wait: a full disk or a reader that does not read
 * costs lines, not requests. Lines stay whole: what was written in part is completed, and after a part that could not be
 * completed the next line begins on a new one.
 */
export class LogStream {
  readonly #target: LineTarget;
  readonly #onLoss: OnLoss;
  readonly #onRecovery: () => void;
  #waiting = '';
  #isTouched = false;
  #isWriting = false;
  #isLosing = false;
  #isEnding = false;
  #hasEnded = false;
  #flushes = 0;
  #idle: (() => void)[] = [];
  #endPause: (() => void) | undefined;

  /**
   * @param target a file descriptor, or where else lines go
   * @param onRecovery called when lines are written again after some were lost
   */
  constructor(target: number | LineTarget, onLoss: OnLoss, onRecovery: () => void = () => {}) {
    this.#target = typeof target === 'number' ? new Descriptor(target) : target;
    this.#onLoss = onLoss;
    this.#onRecovery = onRecovery;
  }

  /** @param lines one or several, each with a newline at its end */
  write(lines: string): void {
    if (this.#isEnding || this.#waiting.length + lines.length > maxWaiting) {
      this.#lose('dropped', countLines(Buffer.from(lines)));
      return;
    }
    this.#waiting += lines;
    this.#start();
  }

  /** Makes the target ready now, and not only when the next line comes. */
  touch(): void {
    if (this.#isEnding) return;
    this.#isTouched = true;
    this.#start();
  }

  /** Waits until all is written or lost, at most `timeout` ms. Never rejects. @returns false where time ran out */
  async flush(timeout: number): Promise<boolean> {
    if (!this.#isWriting) return true;
    this.#flushes++;
    this.#endPause?.();
    const isDone = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(resolve, timeout, false);
      this.#idle.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    this.#flushes--;
    return isDone;
  }

  /** The same for the last time: what comes from now on, and what is not written by then, is lost. */
  async end(timeout: number): Promise<boolean> {
    this.#isEnding = true;
    const isDone = await this.flush(timeout);
    this.#hasEnded = true;
    const left = countLines(this.#take());
    if (left > 0) this.#lose('dropped', left);
    return isDone;
  }

  #start(): void {
    if (this.#isWriting) return;
    this.#isWriting = true;
    void this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    while (!this.#hasEnded && (this.#waiting !== '' || this.#isTouched)) await this.#writeWaiting();
    this.#isWriting = false;
    for (const tell of this.#idle.splice(0)) tell();
  }

  async #writeWaiting(): Promise<void> {
    this.#isTouched = false;
    let left: Buffer | undefined;
    try {
      const isWhole = await this.#target.ready();
      left = this.#take();
      if (left.length === 0) return;
      if (!isWhole) await this.#append(newline);
      while (left.length > 0) left = left.subarray(await this.#append(left));
      if (this.#isLosing) this.#onRecovery();
      this.#isLosing = false;
    } catch (error) {
      this.#lose('failed', countLines(left ?? this.#take()), error);
      await this.#pause();
    }
  }

  async #append(bytes: Buffer): Promise<number> {
    for (;;) {
      try {
        return await this.#target.append(bytes);
      } catch (error) {
        if (!hasCode(error, 'EAGAIN') || this.#hasEnded) throw error;
      }
      await sleep(busyPause);
    }
  }

  #take(): Buffer {
    const bytes = Buffer.from(this.#waiting);
    this.#waiting = '';
    return bytes;
  }

  #lose(how: LossKind, lines: number, error?: unknown): void {
    this.#isLosing = true;
    this.#onLoss(how, lines, error);
  }

  /** What comes meanwhile waits for the next try. Who flushes does not wait. */
  async #pause(): Promise<void> {
    if (this.#flushes > 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, failurePause);
      timer.unref();
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#endPause = undefined;
  }
}

class Descriptor implements LineTarget {
  readonly #descriptor: number;
  #isWhole = true;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  async ready(): Promise<boolean> {
    return this.#isWhole;
  }

  append(bytes: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      write(this.#descriptor, bytes, (error, written) => {
        if (error !== null) return reject(error);
        this.#isWhole = endsLine(bytes.subarray(0, written), this.#isWhole);
        resolve(written);
      });
    });
  }
}

/** True where a line ends with these bytes; `before` where there are none. */
export function endsLine(bytes: Uint8Array, before: boolean): boolean {
  return bytes.length === 0 ? before : bytes.at(-1) === newline[0];
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) lines++;
  return lines;
}
