import { PulledBody } from '../protocol/pulled-body.js';
import type { Part } from './stored-answer.js';

/** Where bytes come from, perhaps while they are still arriving. */
export interface ContentSource {
  /** Fills `into` with what stands at `position`. @returns how many bytes there were: 0 only at the end */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Nobody reads here any more. Never rejects. */
  leave(): void;
}

/** Bytes: of a buffer, of which each body has one; a smaller one where there are many at the same time. */
const largeBuffer = 256 * 1024;
const smallBuffer = 64 * 1024;
const many = 64;

let open = 0;

/** A part of a source, in pieces that stand in one buffer one after the other. */
export class ContentBody extends PulledBody {
  readonly #source: ContentSource;
  readonly #end: number;
  #position: number;
  #buffer: Buffer | undefined;
  #isOpen = true;

  constructor(source: ContentSource, { start, end }: Part) {
    super();
    this.#source = source;
    this.#position = start;
    this.#end = end;
    open += 1;
  }

  async pull(): Promise<Buffer | undefined> {
    const left = this.#end - this.#position;
    if (left === 0) return undefined;
    this.#buffer ??= Buffer.allocUnsafeSlow(Math.min(left, open > many ? smallBuffer : largeBuffer));
    const into = left < this.#buffer.length ? this.#buffer.subarray(0, left) : this.#buffer;
    const count = await this.#source.read(into, this.#position);
    if (count === 0) throw new Error('the cache has fewer bytes than it should');
    this.#position += count;
    return count === into.length ? into : into.subarray(0, count);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#isOpen) {
      this.#isOpen = false;
      open -= 1;
      this.#source.leave();
    }
    done(error);
  }
}
