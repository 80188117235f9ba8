import { Readable } from 'node:stream';

/**
 * A body that gives its pieces one after the other in a buffer that it uses again: whoever sends it on by `pull` copies
 * nothing. For everybody else it is a stream of copies. A body is read in one of the two ways.
 */
export abstract class PulledBody extends Readable {
  #isPulling = false;

  constructor() {
    super({ highWaterMark: 1 }); // each piece is large, and one that waits is enough
  }

  /**
   * One call at a time.
   *
   * @returns the next piece, whose bytes are good until the next call; undefined at the end
   * @throws where the body is cut short or is not what it should be
   */
  abstract pull(): Promise<Buffer | undefined>;

  override _read(): void {
    if (this.#isPulling) return;
    this.#isPulling = true;
    this.pull().then(
      (piece) => {
        this.#isPulling = false;
        this.push(piece === undefined ? null : Buffer.from(piece));
      },
      (error: unknown) => this.destroy(error as Error),
    );
  }
}
