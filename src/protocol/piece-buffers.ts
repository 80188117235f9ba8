/**
 * Bytes of a buffer, of which each body that is sent has one. A piece costs the more the fewer bytes it has, and where
 * many bodies are open at the same time memory counts for more.
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

/** One body's buffer, taken when it is first needed. */
export class PieceBuffer {
  #bytes: Buffer | undefined;
  #isOpen = true;

  constructor() {
    open += 1;
  }

  /** The same at each call. @param expected bytes of the whole body */
  take(expected: number): Buffer {
    this.#bytes ??= bufferFor(expected);
    return this.#bytes;
  }

  /** Only where no byte of it is in use any more: what was cut may still be on its way to a socket. */
  giveBack(): void {
    const others = idle.get(this.#bytes?.length ?? 0);
    if (this.#bytes !== undefined && others !== undefined && others.length < maxIdle)
      others.push(this.#bytes);
    this.#bytes = undefined;
  }

  /** The body has ended. A second call does nothing. */
  close(): void {
    if (this.#isOpen) open -= 1;
    this.#isOpen = false;
  }
}

function bufferFor(expected: number): Buffer {
  const size = open > many ? smallBuffer : largeBuffer;
  if (expected <= size / 2) return Buffer.allocUnsafeSlow(expected);
  return idle.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
}
