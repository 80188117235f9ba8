import { Readable } from 'node:stream';
import { RegistryError } from '../errors.js';

/** Bytes, and seconds. */
const usualLimit = 128 * 1024 * 1024;
const usualFree = 64 * 1024;
const retryAfter = 1;

export interface ByteBudgetLimits {
  /** Bytes of all together. */
  readonly total: number;
  /**
   * Bytes of each that are not counted: a connection's buffers take as much anyway, and so a few giants never keep out
   * what is of the usual size.
   */
  readonly free: number;
}

/** The budget is used up. It passes through whatever reads a body, for it is no fault of that body. */
export class OverBudget extends RegistryError {}

/** Some of a budget's bytes. */
export interface HeldBytes {
  /** So many are on the budget. */
  readonly counted: number;
  /** @throws OverBudget TOOMANYREQUESTS; what was taken before stays taken. RangeError after `release` */
  take(count: number): void;
  /** Gives all of them back. A second call does nothing. */
  release(): void;
}

/**
 * Bounds what is in memory at the same time. It never waits: whoever comes when it is used up is refused, so that
 * nobody waits for bytes that are held by somebody who waits too.
 */
export class ByteBudget {
  readonly #what: string;
  readonly #limits: ByteBudgetLimits;
  #used = 0;

  /** @param what is held, for operators: `manifests` */
  constructor(what: string, limits: ByteBudgetLimits = { total: usualLimit, free: usualFree }) {
    this.#what = what;
    this.#limits = limits;
  }

  /** Bytes that are counted now. */
  get used(): number {
    return this.#used;
  }

  open(): HeldBytes {
    const { free, total } = this.#limits;
    let size = 0;
    let isOpen = true;
    const counted = () => Math.max(size - free, 0);
    return {
      get counted() {
        return counted();
      },
      take: (count) => {
        if (!isOpen) throw new RangeError('these bytes were released');
        const more = Math.max(size + count - free, 0) - counted();
        if (this.#used + more > total) {
          const reason = `${this.#what} in memory would be over ${total} bytes`;
          throw new OverBudget('TOOMANYREQUESTS', { reason, retryAfter });
        }
        size += count;
        this.#used += more;
      },
      release: () => {
        if (isOpen) this.#used -= counted();
        isOpen = false;
      },
    };
  }
}

/**
 * A body of bytes in memory. They are held until it was read or destroyed, and no longer than the signal lets it live.
 *
 * @throws the signal's reason where it is aborted already; the bytes are released then
 */
export function heldBody(bytes: Uint8Array, held: HeldBytes, signal: AbortSignal): Readable {
  if (signal.aborted) {
    held.release();
    throw signal.reason;
  }
  if (held.counted === 0 && bytes.length <= pieceSize) {
    held.release();
    return new WholeBody(bytes);
  }
  const body = new HeldBody(bytes, held);
  const onAbort = () => body.destroy(signal.reason);
  body.on('error', () => {}); // it may fail before its reader has come
  signal.addEventListener('abort', onAbort, { once: true });
  body.once('close', () => signal.removeEventListener('abort', onAbort));
  return body;
}

/** Bytes. */
const pieceSize = 64 * 1024;

/** A body of few bytes in memory: whoever sends it may take them as they are. */
export class WholeBody extends Readable {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    super();
    this.bytes = bytes;
  }

  override _read(): void {
    if (this.bytes.length > 0) this.push(Buffer.from(this.bytes));
    this.push(null);
  }
}

/**
 * Gives copies in pieces: of bytes that are given as a whole the client's connection would hold all, long after this
 * has ended.
 */
class HeldBody extends Readable {
  readonly #held: HeldBytes;
  #rest: Uint8Array;

  constructor(bytes: Uint8Array, held: HeldBytes) {
    super({ highWaterMark: pieceSize });
    this.#rest = bytes;
    this.#held = held;
  }

  override _read(): void {
    const rest = this.#rest;
    this.#rest = rest.subarray(pieceSize);
    if (rest.length > 0) this.push(Buffer.from(rest.subarray(0, pieceSize)));
    else this.push(null);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#rest = new Uint8Array();
    this.#held.release();
    done(error);
  }
}
