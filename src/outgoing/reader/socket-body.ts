import { errors } from 'undici';
import { PieceBuffer } from '../../protocol/piece-buffers.js';
import { PulledBody } from '../../protocol/pulled-body.js';
import { leastSpace, Ring } from './ring.js';

/** What a body may do with the connection it arrives on. */
export interface BodySource {
  /** Read on; what comes is `arrived`, and later stands where `space` said. */
  resume(): void;
  /** Nobody reads the body: no byte of it may be taken for something else. */
  cut(): void;
}

/** A body of known length as it arrives: whoever pulls gets all that has come since. */
export class SocketBody extends PulledBody {
  readonly #source: BodySource;
  readonly #idle: number;
  readonly #buffer = new PieceBuffer();
  readonly #ring: Ring;
  /** What came although nothing was to be read: TLS hands over all that it has deciphered. Copies. */
  #overflow: Buffer[] = [];
  #left: number;
  #isPaused = false;
  #waiting: { resolve(piece: Buffer | undefined): void; reject(error: unknown): void } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failure: Error | undefined;
  #isDue = false;

  /**
   * @param length bytes: more than none
   * @param idle milliseconds that may pass between two pieces while somebody waits for one
   */
  constructor(source: BodySource, length: number, idle: number) {
    super();
    this.#source = source;
    this.#left = length;
    this.#idle = idle;
    this.#ring = new Ring(this.#buffer.take(length + 2 * leastSpace));
    this.on('error', () => {}); // it may fail before its reader has come
  }

  /** Bytes that have not come yet. */
  get left(): number {
    return this.#left;
  }

  /** Where to read to; undefined: what comes next has to be given to `arrived`, and the source waits for `resume`. */
  space(): Buffer | undefined {
    const space = this.#overflow.length > 0 ? undefined : this.#ring.space();
    this.#isPaused = space === undefined;
    return space;
  }

  /** So many bytes were read to where `space` said, none of them beyond the body. */
  filled(count: number): void {
    this.#ring.fill(count);
    this.#took(count);
  }

  /** Bytes that were read elsewhere, `leastSpace` at most; none of them beyond the body. */
  arrived(bytes: Buffer): void {
    const space = this.#overflow.length > 0 ? undefined : this.#ring.space();
    if (space === undefined) {
      this.#overflow.push(Buffer.from(bytes));
      this.#left -= bytes.length;
      return;
    }
    bytes.copy(space);
    this.filled(bytes.length);
  }

  /** The connection has failed; whoever reads gets what has come before. */
  fail(error: Error): void {
    if (this.#left === 0) return;
    this.#failure ??= error;
    if (!this.#isDue) this.#settle()?.reject(this.#failure);
  }

  pull(): Promise<Buffer | undefined> {
    const piece = this.#ring.use() ?? this.#takeOverflow();
    if (this.#isPaused) this.#readOn();
    if (piece !== undefined) return Promise.resolve(piece);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#left === 0) {
      this.#buffer.giveBack();
      return Promise.resolve(undefined);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#timer = setTimeout(() => {
        this.fail(new errors.BodyTimeoutError());
        this.#source.cut();
      }, this.#idle);
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#buffer.close();
    this.#settle()?.reject(error ?? new Error('the body was given up'));
    if (this.#left > 0) {
      this.#failure ??= error ?? new Error('the body was given up');
      this.#source.cut();
    }
    done(error);
  }

  #takeOverflow(): Buffer | undefined {
    if (this.#overflow.length === 0) return undefined;
    const bytes = Buffer.concat(this.#overflow);
    this.#overflow = [];
    return bytes;
  }

  #readOn(): void {
    if (this.#ring.isEmpty) this.#ring.reset();
    if (this.space() === undefined) return;
    this.#isPaused = false;
    this.#source.resume();
  }

  #took(count: number): void {
    this.#left -= count;
    if (this.#waiting === undefined || this.#isDue) return;
    // All that can be read now goes in one piece: TLS comes in records of 16 KiB.
    this.#isDue = true;
    setImmediate(this.#handOver);
  }

  readonly #handOver = () => {
    this.#isDue = false;
    if (this.#waiting !== undefined) this.#settle()?.resolve(this.#ring.use());
  };

  #settle() {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    clearTimeout(this.#timer);
    return waiting;
  }
}
