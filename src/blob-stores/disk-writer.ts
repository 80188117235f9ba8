import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlobWriter } from '../contracts/index.js';
import { hasCode, RegistryError } from '../errors.js';
import { type Digest, digestAlgorithm } from '../reference/digest.js';

/** Where a writer's file stands, and goes. */
export interface DiskWriterPlaces {
  readonly digest: Digest;
  /** While it is written. */
  readonly incoming: string;
  /** Once it is verified. */
  readonly final: string;
}

/** Called by a writer. */
export interface DiskWriterEvents {
  /** The disk is full. @param missing bytes. @returns when there may be room */
  makeRoom(missing: number): Promise<void>;
  /** It is visible. @param size bytes */
  committed(size: number): void;
  closed(): void;
}

/** Writes a blob beside the others and moves it among them once its digest is right. */
export class DiskWriter implements BlobWriter {
  readonly #places: DiskWriterPlaces;
  readonly #events: DiskWriterEvents;
  readonly #file: FileHandle;
  readonly #hash: Hash;
  #size = 0;
  #isOpen = true;

  static async open(places: DiskWriterPlaces, events: DiskWriterEvents): Promise<DiskWriter> {
    const file = await open(places.incoming, 'wx+', 0o600);
    return new DiskWriter(places, events, file);
  }

  private constructor(places: DiskWriterPlaces, events: DiskWriterEvents, file: FileHandle) {
    this.#places = places;
    this.#events = events;
    this.#file = file;
    this.#hash = createHash(digestAlgorithm(places.digest));
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk);
    let rest = chunk;
    let hasMadeRoom = false;
    while (rest.length > 0) {
      try {
        const { bytesWritten } = await this.#file.write(rest, 0, rest.length, this.#size);
        this.#size += bytesWritten;
        rest = rest.subarray(bytesWritten);
      } catch (error) {
        if (hasMadeRoom || !isFull(error)) throw error;
        hasMadeRoom = true;
        await this.#events.makeRoom(rest.length);
      }
    }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const { bytesRead } = await this.#file.read(into, 0, into.length, position);
    return bytesRead;
  }

  async commit(): Promise<void> {
    const { digest, incoming, final } = this.#places;
    if (`${digestAlgorithm(digest)}:${this.#hash.digest('hex')}` !== digest) {
      throw new RegistryError('DIGEST_INVALID', { reason: `the bytes are not those of ${digest}` });
    }
    await rename(incoming, final).catch(async (error: unknown) => {
      if (!hasCode(error, 'ENOENT')) throw error;
      await mkdir(dirname(final), { recursive: true, mode: 0o700 });
      await rename(incoming, final);
    });
    this.#events.committed(this.#size);
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    // After a commit there is no such file any more.
    await rm(this.#places.incoming, { force: true }).catch(() => {});
    await this.#file.close().catch(() => {}); // what could fail then is on its way to a disk that failed
    this.#events.closed();
  }
}

export function isFull(error: unknown): boolean {
  return hasCode(error, 'ENOSPC') || hasCode(error, 'EDQUOT');
}
