/** Bytes that come in pieces: each piece that is kept as it came costs far more than its bytes where it has few. */
export class GrowingBytes {
  #buffer = Buffer.alloc(0);
  #size = 0;

  /** Valid until more is added. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size);
  }

  add(piece: Uint8Array): void {
    const size = this.#size + piece.length;
    if (size > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(size, 2 * this.#buffer.length));
      larger.set(this.bytes);
      this.#buffer = larger;
    }
    this.#buffer.set(piece, this.#size);
    this.#size = size;
  }
}
