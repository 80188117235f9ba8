import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../contracts/index.js';
import { hasCode } from '../errors.js';
import type { Digest } from '../reference/digest.js';
import { type DiskLayout, digestOfFile } from './disk-layout.js';
import { namesIn } from './disk-links.js';

/** Milliseconds: so long others of this directory may have written without our having seen it. */
const lookAgain = 60_000;
/** Milliseconds after which a file that is being written is one that somebody has left: bodies stand still for less. */
const abandoned = 3_600_000;
/** To which part of its size a cache is emptied, so that not every blob has to make room for itself. */
const lowWater = 0.95;

/** A blob as the directory shows it. */
export interface FoundBlob {
  readonly digest: Digest;
  readonly file: string;
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly usedAt: number;
}

/** Set aside for a blob that is being written. */
export interface Room {
  /** The blob is there now. */
  taken(bytes: number): void;
  /** Harmless after `taken`. */
  giveBack(): void;
}

/** Keeps a cache's directory within its size: the blob goes first that was not used for longest. */
export class DiskSpace {
  readonly maxSize: number;
  readonly #layout: DiskLayout;
  readonly #clock: Clock;
  readonly #pins = new Map<Digest, number>();
  readonly #onEvict: (blob: FoundBlob) => void;
  #used = 0;
  #reserved = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    layout: DiskLayout,
    { maxSize, clock, onEvict }: { maxSize: number; clock: Clock; onEvict: (blob: FoundBlob) => void },
  ) {
    this.#layout = layout;
    this.maxSize = maxSize;
    this.#clock = clock;
    this.#onEvict = onEvict;
  }

  /** Bytes, as they were last seen, with what was written since. */
  get used(): number {
    return this.#used;
  }

  /** While it is read it is not evicted. @returns lets it go */
  pin(digest: Digest): () => void {
    this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = (this.#pins.get(digest) ?? 1) - 1;
      if (left === 0) this.#pins.delete(digest);
      else this.#pins.set(digest, left);
    };
  }

  /**
   * Sets room aside for a blob that is to be written, and makes it where it must.
   *
   * @returns undefined where there is no room
   */
  async reserve(size: number): Promise<Room | undefined> {
    if (size > this.maxSize) return undefined;
    this.#reserved += size;
    if (!(await this.#fits())) {
      this.#reserved -= size;
      return undefined;
    }
    let held = size;
    const giveBack = () => {
      this.#reserved -= held;
      held = 0;
    };
    return {
      taken: (bytes) => {
        giveBack();
        this.#used += bytes;
      },
      giveBack,
    };
  }

  /** Makes so many bytes free beyond what is in use now, for the disk is full before the cache is. */
  async free(bytes: number): Promise<void> {
    await this.#inTurn(async () => {
      const blobs = await this.look();
      await this.#evict(blobs, Math.max(this.#used - bytes, 0));
    });
  }

  /** Down to `maxSize`. */
  async shrink(): Promise<void> {
    await this.#inTurn(async () => {
      const blobs = await this.look();
      if (this.#used > this.maxSize) await this.#evict(blobs, this.maxSize);
    });
  }

  /** All blobs, and removes what was left in `incoming`. */
  async look(): Promise<readonly FoundBlob[]> {
    const found: FoundBlob[] = [];
    for (const algorithm of await namesIn(this.#layout.blobs)) {
      for (const shard of await namesIn(join(this.#layout.blobs, algorithm))) {
        const directory = join(this.#layout.blobs, algorithm, shard);
        const names = await namesIn(directory);
        const blobs = await Promise.all(
          names.map(async (name): Promise<FoundBlob | undefined> => {
            const digest = digestOfFile(algorithm, name);
            const file = join(directory, name);
            const status = digest && (await statOf(file));
            return digest && status && { digest, file, size: status.size, usedAt: status.mtimeMs };
          }),
        );
        found.push(...blobs.filter((blob) => blob !== undefined));
      }
    }
    this.#used = found.reduce((sum, { size }) => sum + size, 0);
    this.#lookedAt = this.#clock.now();
    return found;
  }

  /** Removes what others have left unfinished. */
  async removeAbandoned(): Promise<void> {
    for (const name of await namesIn(this.#layout.incoming)) {
      const file = join(this.#layout.incoming, name);
      const status = await statOf(file);
      if (status !== undefined && Date.now() - status.mtimeMs > abandoned) await rm(file, { force: true });
    }
  }

  async remove(blob: FoundBlob): Promise<boolean> {
    if (this.#pins.has(blob.digest)) return false;
    await rm(blob.file, { force: true });
    this.#used = Math.max(this.#used - blob.size, 0);
    return true;
  }

  async #fits(): Promise<boolean> {
    const isFresh = () => this.#clock.now() - this.#lookedAt < lookAgain;
    if (isFresh() && this.#used + this.#reserved <= this.maxSize) return true;
    return this.#inTurn(async () => {
      if (isFresh() && this.#used + this.#reserved <= this.maxSize) return true;
      const blobs = await this.look();
      const over = () => this.#used + this.#reserved > this.maxSize;
      if (over()) await this.#evict(blobs, Math.max(this.maxSize * lowWater - this.#reserved, 0));
      return !over();
    });
  }

  async #evict(blobs: readonly FoundBlob[], target: number): Promise<void> {
    for (const blob of [...blobs].sort((a, b) => a.usedAt - b.usedAt)) {
      if (this.#used <= target) return;
      if (await this.remove(blob)) this.#onEvict(blob);
    }
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(step);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

async function statOf(file: string) {
  try {
    return await stat(file);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
