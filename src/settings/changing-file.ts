import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

export interface ChangingFileOptions<T> {
  readonly parse: (text: string) => T;
  /** Bytes; a larger file is an error. */
  readonly maxSize: number;
  /** Told when a changed file cannot be read or parsed; the value read before stays in use. */
  readonly onFailure?: (error: unknown) => void;
  readonly onChange?: (value: T) => void;
}

/** Milliseconds; kernels stamp files with the time of their last tick, and some file systems with whole seconds. */
const coarsestStamp = 2_000;

/**
 * A file that may be replaced while we run: by an editor, by rename, or by the symlink swap of a Kubernetes volume.
 * It is looked at whenever its value is asked for, and read again when it is another file or was changed.
 */
export class ChangingFile<T> {
  readonly path: string;
  readonly #options: ChangingFileOptions<T>;
  #known: { value: T; text: string; mark: string; settled: boolean } | undefined;
  #failedMark: string | undefined;
  #underWay: Promise<T> | undefined;

  constructor(path: string, options: ChangingFileOptions<T>) {
    this.path = path;
    this.#options = options;
  }

  /** @throws an Error naming the file, while it was never read well */
  read(): Promise<T> {
    this.#underWay ??= this.#read().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #read(): Promise<T> {
    let mark = 'unreadable';
    try {
      // A pipe that nobody writes to would otherwise hold one of the few threads for files, for ever.
      const file = await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        const stat = await file.stat({ bigint: true });
        mark = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
        const known = this.#known;
        if (known?.mark === mark && known.settled) return known.value;
        if (!stat.isFile()) throw new Error('it is not a regular file');
        if (stat.size > BigInt(this.#options.maxSize))
          throw new Error(`it is over ${this.#options.maxSize} bytes`);
        // What was changed just now may be changed again without another mark.
        const settled = Math.abs(Date.now() - Number(stat.ctimeMs)) > coarsestStamp;
        const text = await file.readFile('utf8');
        const value = known?.text === text ? known.value : this.#options.parse(text);
        this.#known = { value, text, mark, settled };
        this.#failedMark = undefined;
        if (known !== undefined && known.text !== text) this.#options.onChange?.(value);
        return value;
      } finally {
        await file.close();
      }
    } catch (error) {
      const failure = new Error(`cannot read ${this.path}`, { cause: error });
      if (this.#known === undefined) throw failure;
      // Told once a state of the file, not once a request.
      if (this.#failedMark !== mark) this.#options.onFailure?.(failure);
      this.#failedMark = mark;
      return this.#known.value;
    }
  }
}
