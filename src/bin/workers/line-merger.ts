const newline = 0x0a;
/** Bytes of a line at most: beyond, it is passed on in parts. */
const maxLine = 1024 * 1024;

/** Passes on what a process writes in whole lines, so that those of several do not mix. */
export class LineMerger {
  readonly #write: (lines: string) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(write: (lines: string) => void) {
    this.#write = write;
  }

  add(bytes: Buffer): void {
    const end = bytes.lastIndexOf(newline) + 1;
    const rest = this.#rest;
    if (end === 0) {
      this.#rest = Buffer.concat([rest, bytes]);
      if (this.#rest.length > maxLine) this.end();
      return;
    }
    const whole = bytes.subarray(0, end);
    this.#rest = Buffer.from(bytes.subarray(end));
    this.#write((rest.length > 0 ? Buffer.concat([rest, whole]) : whole).toString('utf8'));
  }

  /** The process has ended: what it has written of a line is a line. */
  end(): void {
    if (this.#rest.length > 0) this.#write(`${this.#rest.toString('utf8')}\n`);
    this.#rest = Buffer.alloc(0);
  }
}
