import { PieceBuffer } from '../protocol/piece-buffers.js';
import { PulledBody } from '../protocol/pulled-body.js';
import type { Part } from './stored-answer.js';

/** Where bytes come from, perhaps while they are still arriving. */
export interface ContentSource {
  /** Fills `into` with what stands at `position`. @returns how many bytes there were: 0 only at the end */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Nobody reads here any more. Never rejects. */
  leave(): void;
}

/** A part of a source, in pieces that stand in one buffer one after the other. */
export class ContentBody extends PulledBody {
  readonly #source: ContentSource;
  readonly #end: number;
  #position: number;
  readonly #buffer = new PieceBuffer();
  #isOpen = true;

  constructor(source: ContentSource, { start, end }: Part) {
    super();
    this.#source = source;
    this.#position = start;
    this.#end = end;
  }

  async pull(): Promise<Buffer | undefined> {
    const left = this.#end - this.#position;
    if (left === 0) {
      this.#buffer.giveBack();
      return undefined;
    }
    const buffer = this.#buffer.take(left);
    const into = left < buffer.length ? buffer.subarray(0, left) : buffer;
    const count = await this.#source.read(into, this.#position);
    if (count === 0) throw new Error('the cache has fewer bytes than it should');
    this.#position += count;
    return count === into.length ? into : into.subarray(0, count);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#isOpen) {
      this.#isOpen = false;
      this.#buffer.close();
      this.#source.leave();
    }
    done(error);
  }
}
