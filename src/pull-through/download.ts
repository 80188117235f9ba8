import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobWriter, Log, RegistryResponse } from '../contracts/index.js';
import { describeError, RegistryError } from '../errors.js';
import { PulledBody } from '../protocol/pulled-body.js';
import type { ContentSource } from './content-body.js';

/** Bytes at the end that nobody gets before the digest is verified: who has them has what the digest says. */
const withheld = 64 * 1024;
/** Times that a download goes on after a cut without having got any further; and milliseconds before each. */
const attempts = 3;
const pause = 200;

/** The cache's directory failed, not the upstream. */
class StoreFailed extends Error {}

export interface DownloadParts {
  readonly writer: BlobWriter;
  /** Bytes. */
  readonly size: number;
  /** The blob from this byte on. @throws what the upstream says */
  fetchFrom(position: number, signal: AbortSignal): Promise<RegistryResponse>;
  /** Called when it is whole, verified and visible, before anybody gets its end. */
  completed(): Promise<void>;
  /** Called when nothing more comes. */
  ended(): void;
  resumed(): void;
  failed(): void;
  readonly log: Log;
}

/**
 * A blob on its way into the cache. All who want it read it from where it is written, each at its own pace; it goes on
 * as long as one of them is there.
 */
export class Download {
  readonly #parts: DownloadParts;
  readonly #abandoned = new AbortController();
  #readers = 0;
  #written = 0;
  #state: 'under way' | 'verified' | 'failed' = 'under way';
  #error: unknown;
  #waiting: (() => void)[] = [];

  constructor(parts: DownloadParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#parts.size;
  }

  /** @returns undefined where nobody can join any more */
  join(signal: AbortSignal): ContentSource | undefined {
    if (this.#state === 'failed' || this.#abandoned.signal.aborted) return undefined;
    this.#readers += 1;
    const rest = new Rest(this.#parts, signal);
    let isHere = true;
    return {
      read: (into, position) => this.#read(into, position, rest),
      leave: () => {
        if (!isHere) return;
        isHere = false;
        rest.leave();
        this.#readers -= 1;
        if (this.#readers > 0) return;
        this.#abandoned.abort(new Error('nobody waits for it any more'));
        if (this.#state !== 'under way') void this.#parts.writer.close();
      },
    };
  }

  /** Never rejects. @param first the answer that has begun it */
  async run(first: RegistryResponse): Promise<void> {
    const { writer, completed, ended, failed, log, size } = this.#parts;
    try {
      await this.#receive(first);
      await writer.commit().catch((error: unknown) => {
        throw commitError(error);
      });
      await completed();
      this.#state = 'verified';
    } catch (error) {
      this.#state = 'failed';
      this.#error = error;
      if (!this.#abandoned.signal.aborted) {
        failed();
        const reason = describeError(error);
        log.warn({ reason, received: this.#written, size }, 'cache: a download came to no end');
      }
    }
    ended();
    this.#wake();
    if (this.#readers === 0) await writer.close();
  }

  async #receive(first: RegistryResponse): Promise<void> {
    const { size } = this.#parts;
    let answer: RegistryResponse | undefined = first;
    let failures = 0;
    for (;;) {
      const before = this.#written;
      try {
        answer ??= await this.#goOn();
        await this.#write(answer);
        return;
      } catch (error) {
        answer?.body?.destroy();
        answer = undefined;
        this.#abandoned.signal.throwIfAborted();
        failures = this.#written > before ? 1 : failures + 1;
        if (error instanceof StoreFailed || this.#written >= size || failures > attempts) throw error;
      }
      await sleep(pause * failures, undefined, { signal: this.#abandoned.signal });
    }
  }

  async #goOn(): Promise<RegistryResponse> {
    const answer = await this.#parts.fetchFrom(this.#written, this.#abandoned.signal);
    this.#parts.resumed();
    return answer;
  }

  async #write({ body }: RegistryResponse): Promise<void> {
    const { writer, size } = this.#parts;
    if (body === undefined) throw new Error('the upstream sent no body');
    const onAbort = () => body.destroy(this.#abandoned.signal.reason);
    this.#abandoned.signal.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const piece of piecesOf(body)) {
        if (this.#written + piece.length > size) throw new Error('the upstream sent more than it said');
        try {
          await writer.write(piece);
        } catch (error) {
          throw new StoreFailed('the cache cannot be written', { cause: error });
        }
        this.#written += piece.length;
        this.#wake();
      }
    } finally {
      this.#abandoned.signal.removeEventListener('abort', onAbort);
      body.destroy();
    }
    if (this.#written < size) throw new Error('the upstream cut it short');
  }

  async #read(into: Uint8Array, position: number, rest: Rest): Promise<number> {
    for (;;) {
      const there = this.#there() - position;
      if (there > 0) {
        const wanted = there < into.length ? into.subarray(0, there) : into;
        const count = await this.#parts.writer.read(wanted, position);
        if (count > 0) return count;
        throw new Error('the cache has fewer bytes than were written');
      }
      if (position === this.size) return 0;
      if (this.#state === 'failed') {
        if (this.#error instanceof StoreFailed) return rest.read(into, position);
        throw this.#error;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** How many bytes may be read. */
  #there(): number {
    if (this.#state === 'verified') return this.size;
    return Math.min(this.#written, Math.max(this.size - withheld, 0));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** @param error of a writer's commit */
function commitError(error: unknown): Error {
  if (error instanceof RegistryError && error.code === 'DIGEST_INVALID') {
    const reason = 'the upstream’s bytes are not those of the digest';
    return new RegistryError('UNAVAILABLE', { reason, cause: error });
  }
  return new StoreFailed('the cache cannot be written', { cause: error });
}

/** What one reader still needs where the cache's directory has failed: from the upstream, as if there were no cache. */
class Rest {
  readonly #parts: DownloadParts;
  readonly #signal: AbortSignal;
  #body: Readable | undefined;
  #pieces: AsyncIterator<Uint8Array> | undefined;
  #piece: Uint8Array = new Uint8Array();

  constructor(parts: DownloadParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    if (this.#pieces === undefined) {
      const { body } = await this.#parts.fetchFrom(position, this.#signal);
      if (body === undefined) throw new Error('the upstream sent no body');
      this.#body = body;
      this.#pieces = piecesOf(body)[Symbol.asyncIterator]();
    }
    while (this.#piece.length === 0) {
      const next = await this.#pieces.next();
      if (next.done) return 0;
      this.#piece = next.value;
    }
    const piece = this.#piece.subarray(0, into.length);
    into.set(piece);
    this.#piece = this.#piece.subarray(piece.length);
    return piece.length;
  }

  leave(): void {
    this.#body?.destroy();
  }
}

/** The pieces of a body, each good until the next one. */
async function* piecesOf(body: Readable): AsyncGenerator<Uint8Array> {
  if (!(body instanceof PulledBody)) {
    yield* body as AsyncIterable<Uint8Array>;
    return;
  }
  for (let piece = await body.pull(); piece !== undefined; piece = await body.pull()) yield piece;
}
