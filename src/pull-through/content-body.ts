import { PulledBody } from '../protocol/pulled-body.js';
import type { Part } from './stored-answer.js';

/** Where bytes come from, perhaps while they are still arriving. */
export interface ContentSource {
  /** Fills `into` with what stands at `position`. @returns how many bytes there were: 0 only at the end */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Nobody reads here any more. Never rejects. */
  leave(): void;
}

/**
 * Bytes of a buffer, of which each body has one. A piece costs the more the fewer bytes it has (two trips to another
 * thread and back), and where many bodies are open at the same time memory counts for more.
 */
const largeBuffer = 1024 * 1024;
const smallBuffer = 32 * 1024;
const many = 16;
/** Buffers that wait for their next body, by size: what is let go is only free when the collector has come by. */
const idle = new Map<number, Buffer[]>([
  [largeBuffer, []],
  [smallBuffer, []],
]);
/** Of each size. */
const maxIdle = 128;

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
    if (left === 0) return this.#giveBack();
    this.#buffer ??= bufferFor(left);
    const into = left < this.#buffer.length ? this.#buffer.subarray(0, left) : this.#buffer;
    const count = await this.#source.read(into, this.#position);
    if (count === 0) throw new Error('the cache has fewer bytes than it should');
    this.#position += count;
    return count === into.length ? into : into.subarray(0, count);
  }

  /** Only here, where the last piece has left: what was cut may still be on its way to a socket. */
  #giveBack(): undefined {
    const others = idle.get(this.#buffer?.length ?? 0);
    if (this.#buffer !== undefined && others !== undefined && others.length < maxIdle)
      others.push(this.#buffer);
    this.#buffer = undefined;
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

function bufferFor(bytes: number): Buffer {
  const size = open > many ? smallBuffer : largeBuffer;
  if (bytes <= size / 2) return Buffer.allocUnsafeSlow(bytes);
  return idle.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
}
